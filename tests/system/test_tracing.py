"""Traces through a running gateway: guests' environment, fields of outbound calls, exported spans."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT, Server, running, wait_until
from tests.support import guests
from tests.support.clients import REQ
from tests.support.clock import assert_within
from tests.support.collector import Collector, Span, Status, attributes, collecting
from tests.support.config import guest, module
from tests.support.farm import Target
from wagi_gateway.cli.main import app
from wagi_gateway.config.file import read_config
from wagi_gateway.config.settings import TracingConfig
from wagi_gateway.errors import StartupError
from wagi_gateway.observe.tracing import check
from wagi_gateway.site.load import load

TRACE, CALLER = "12345678901234567890123456789012", "1234567890123456"
OWN = f"00-{'a' * 32}-{'b' * 16}-00"
"""The trace fields of a guest that makes spans of its own."""
EXPORT = "[tracing]\nexport = true\n"


def asks(url: str, headers: str) -> str:
    """A guest that makes one call with these header lines, and responds with the error of the call."""
    url_bytes, header_bytes = url.encode(), headers.encode()
    return f"""(module {guests.FD_WRITE} {REQ} (memory (export "memory") 1)
     (data (i32.const 1024) "content-type: text/plain\\n\\n0") (data (i32.const 2048) {guests.wat_string(url_bytes)})
     (data (i32.const 4096) "GET") (data (i32.const 5000) {guests.wat_string(header_bytes)})
     {guests.WRITE}
     (func (export "_start")
      (i32.store8 (i32.const 1050) (i32.add (i32.const 48)
       (call $req (i32.const 2048) (i32.const {len(url_bytes)}) (i32.const 4096) (i32.const 3)
        (i32.const 5000) (i32.const {len(header_bytes)}) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16))))
      (call $write (i32.const 1) (i32.const 1024) (i32.const 27))))"""


@contextmanager
def gateway(
    directory: Path, cache: Path, target: Target, settings: str = "", *arguments: str, **environment: str
) -> Iterator[Server]:
    """A gateway with guests that print their environment, that call with and without a trace, and that trap."""
    texts = {
        "plain": asks(f"{target.url}/hello?secret", ""),
        "own": asks(f"{target.url}/hello", f"traceparent: {OWN}\ntracestate: g=1"),
        "moved": asks(f"{target.url}/redirect?to=/hello", ""),
        "closed": asks("http://127.0.0.1:1/", ""),
        "trap": guests.TRAP,
    }
    for name, text in texts.items():
        (directory / f"{name}.wat").write_text(text)
    allowed = f'allowed_hosts = ["{target.url}", "http://127.0.0.1:1"]\n'
    config = module("/env/...", ROOT / "samples/c/env.wasm")
    config += "".join(guest(f"/{name}", name) + allowed for name in texts) + settings
    with running(directory, config, "--log-format", "json", *arguments, cache=cache, environment=environment) as server:
        yield server


def seen(response: httpx.Response) -> dict[str, str]:
    """The trace in a guest's environment."""
    return dict(re.findall(r"^HTTP_(TRACE\w+)\s*=\s*(\S+)$", response.text, re.MULTILINE))


def carried(target: Target) -> tuple[str | None, str | None]:
    """The trace in the last request at the target."""
    return target.requests[-1].header("traceparent"), target.requests[-1].header("tracestate")


def trace(flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{CALLER}-{flags}", "tracestate": "a=1"}


def logged(server: Server, path: str) -> dict[str, object]:
    """The log record of a request."""
    server.wait_for_log(f'"message": "GET {path}"')
    lines = [json.loads(line) for line in server.log.splitlines()]
    return next(line for line in lines if line["message"] == f"GET {path}")


def reload(server: Server, change: Callable[[str], str]) -> None:
    """Returns when the server has reloaded."""
    path, before = server.log_path.with_name("modules.toml"), server.log.count('"reloaded: ')
    path.write_text(change(path.read_text()))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log.count('"reloaded: ') > before, message=lambda: server.log)


def one(spans: list[Span], kind: Span.SpanKind.ValueType) -> Span:
    (span,) = [span for span in spans if span.kind == kind]
    return span


def test_a_trace_goes_through_to_guests_and_their_calls(tmp_path: Path, cache: Path) -> None:
    with Target() as target, gateway(tmp_path, cache, target) as server:
        assert seen(server.get("/env/a", headers=trace())) == {
            "TRACEPARENT": f"00-{TRACE}-{CALLER}-01",
            "TRACESTATE": "a=1",
        }
        assert seen(server.get("/env/b", headers={"traceparent": "x", "tracestate": "a=1"})) == {}
        assert logged(server, "/env/a")["trace_id"] == TRACE
        assert "trace_id" not in logged(server, "/env/b")
        server.get("/plain", headers=trace())
        assert carried(target) == (f"00-{TRACE}-{CALLER}-01", "a=1")
        server.get("/moved", headers=trace())
        assert (target.requests[-1].target, carried(target)) == ("/hello", (f"00-{TRACE}-{CALLER}-01", "a=1"))
        server.get("/plain")
        assert carried(target) == (None, None)
        server.get("/own", headers=trace())
        assert carried(target) == (OWN, "g=1")
        reload(server, lambda config: config + "[tracing]\npropagate = false\n")
        assert server.get("/plain", headers=trace()).text == "0"
        assert carried(target) == (None, None)
        assert seen(server.get("/env/", headers=trace()))["TRACEPARENT"] == f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@dataclass(frozen=True, slots=True)
class Traced:
    """A gateway that samples every request."""

    server: Server
    collector: Collector
    target: Target


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Traced]:
    directory = tmp_path_factory.mktemp("traced")
    with (
        collecting() as collector,
        Target() as target,
        gateway(directory, cache, target, EXPORT, **collector.environment) as server,
    ):
        yield Traced(server, collector, target)


@pytest.fixture
def traced(shared: Traced) -> Traced:
    """Discards the spans of earlier tests."""
    shared.collector.requests.clear()
    return shared


def test_a_call_lies_below_its_guest_and_that_below_the_request(traced: Traced) -> None:
    server, target = traced.server, traced.target
    answer = server.get("/plain?token=secret", headers=trace() | {"user-agent": "secret"})
    spans = traced.collector.wait_for(3)
    kinds = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_CLIENT)
    request, guest, call = (one(spans, kind) for kind in kinds)
    assert [span.trace_id.hex() for span in spans] == [TRACE] * 3
    assert request.parent_span_id.hex() == CALLER
    assert (guest.parent_span_id, call.parent_span_id) == (request.span_id, guest.span_id)
    assert carried(target) == (f"00-{TRACE}-{call.span_id.hex()}-01", "a=1")
    assert (request.name, guest.name, call.name) == ("GET /plain", "guest", "GET")
    assert attributes(request.attributes) == {
        "http.request.method": "GET",
        "http.route": "/plain",
        "http.response.status_code": 200,
        "url.path": "/plain",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": server.address[1],
        "client.address": "127.0.0.1",
        "wagi.request.id": answer.headers["x-request-id"],
    }
    told = attributes(guest.attributes)
    assert 0 < float(told.pop("wagi.guest.seconds")) < 10
    assert told == {
        "wagi.module": "plain.wat",
        "wagi.entrypoint": "_start",
        "wagi.guest.executor": "thread",
        "process.exit.code": 0,
    }
    assert attributes(call.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": target.port,
        "url.scheme": "http",
    }
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_UNSET}
    begins = [span.start_time_unix_nano for span in (request, guest, call)]
    assert begins == sorted(begins)
    assert "secret" not in str(traced.collector.requests)
    assert traced.collector.resources[0]["service.name"] == "wagi-gateway"


def test_a_trace_begins_here(traced: Traced) -> None:
    told = seen(traced.server.get("/env/new", headers={"traceparent": "nonsense", "tracestate": "a=1"}))
    request = one(traced.collector.wait_for(2), Span.SPAN_KIND_SERVER)
    assert told == {"TRACEPARENT": f"00-{request.trace_id.hex()}-{request.span_id.hex()}-03"}  # and the id is random
    assert not request.parent_span_id
    assert logged(traced.server, "/env/new")["trace_id"] == request.trace_id.hex()


def test_failures_are_errors(traced: Traced) -> None:
    server = traced.server
    assert server.get("/trap").status_code == 500
    spans = traced.collector.wait_for(2)
    errors = {span.name: attributes(span.attributes)["error.type"] for span in spans}
    assert errors == {"GET /trap": "500", "guest": "unreachable"}
    server.get("/closed")
    call = one(traced.collector.wait_for(5)[2:], Span.SPAN_KIND_CLIENT)
    assert attributes(call.attributes)["error.type"] == "failed"
    assert {span.status.code for span in (*spans, call)} == {Status.STATUS_CODE_ERROR}


def test_what_a_client_chooses_is_no_name_and_no_error(traced: Traced) -> None:
    traced.server.client.request("PROPFIND", f"{traced.server.url}/nowhere")
    (request,) = traced.collector.wait_for(1)
    told = attributes(request.attributes)
    assert (request.name, told["http.request.method"], told["http.response.status_code"]) == ("HTTP", "_OTHER", 404)
    assert request.status.code == Status.STATUS_CODE_UNSET


def test_a_reload_does_not_interrupt_them(traced: Traced) -> None:
    reload(traced.server, lambda config: config.replace(EXPORT, f"{EXPORT}propagate = false\n"))
    traced.server.get("/plain", headers=trace())
    spans = traced.collector.wait_for(3)
    # The call has a span, although its request carries no trace.
    assert one(spans, Span.SPAN_KIND_CLIENT).trace_id.hex() == TRACE
    assert carried(traced.target) == (None, None)
    reload(traced.server, lambda config: config.replace("propagate = false\n", ""))


def test_what_is_not_sampled_is_not_sent_and_goes_on_as_such(tmp_path: Path, cache: Path, collector: Collector) -> None:
    environment = collector.environment | {"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_SERVICE_NAME": "shop"}
    with Target() as target, gateway(tmp_path, cache, target, EXPORT, **environment) as server:
        server.get("/plain")
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]", carried(target)[0] or "")
        told = seen(server.get("/env/", headers=trace("00")))
        assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", told["TRACEPARENT"])
        server.get("/env/", headers=trace("01"))
        assert {span.trace_id.hex() for span in collector.wait_for(2)} == {TRACE}
        assert collector.resources[0]["service.name"] == "shop"


def test_every_worker_sends_its_spans_also_its_last(tmp_path: Path, cache: Path, collector: Collector) -> None:
    environment = collector.environment | {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    with Target() as target, gateway(tmp_path, cache, target, EXPORT, "--workers", "2", **environment) as server:

        def both_have_answered() -> bool:
            httpx.get(f"{server.url}/env/", trust_env=False, timeout=30)
            return len(set(re.findall(r'"id": "(.{10})', server.log))) == 2

        wait_until(both_have_answered)
        assert not collector.requests
        server.process.terminate()
        server.process.wait(20)
        collector.wait_for(2 * server.log.count('"GET /env/"'))
        assert len({resource["process.pid"] for resource in collector.resources}) == 2


def test_a_collector_that_hangs_delays_nothing_but_the_end(tmp_path: Path, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Target() as target:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_BSP_MAX_QUEUE_SIZE": "8",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        }
        with gateway(tmp_path, cache, target, EXPORT, **environment) as server:
            for _ in range(30):
                assert server.get("/env/").status_code == 200
            server.wait_for_log("Queue full, dropping Span")
            started = time.monotonic()
            server.process.terminate()
            assert server.process.wait(20) == 0
            assert_within(time.monotonic() - started, 8)
            assert "the last spans could not be sent" in server.log
            assert "Traceback" not in server.log


def test_without_the_extra_everything_else_works(tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(guest("/", "hello") + EXPORT)
    blocked = "import sys\nsys.modules['opentelemetry'] = None\nfrom wagi_gateway.cli.main import main\nmain()"
    command = [sys.executable, "-c", blocked, "check", "--cache-dir", "cache", "modules.toml"]
    env = os.environ | {"COLUMNS": "400"}
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=env)
    assert checked.returncode == 1, checked.stderr
    missing = 'needs OpenTelemetry, which is not installed; pip install "wagi-gateway[tracing]"'
    assert f"tracing.export = true: {missing}" in checked.stdout


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: spans are sent as http/protobuf"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size must be a positive integer"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody", "'nobody' not found"),
    ],
)
def test_an_environment_that_makes_no_sense_is_a_mistake(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=re.escape(said)):
        check(TracingConfig(export=True))
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    check(TracingConfig(export=True))


def test_what_was_right_is_not_tried_at_each_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(guest("/", "hello") + EXPORT)
    file = read_config(tmp_path / "modules.toml")
    with closing(load(file)) as previous:
        # Each attempt leaks in OpenTelemetry's SDK, and this one would fail.
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
        load(file, previous=previous).close()
    with pytest.raises(StartupError, match="max_queue_size must be a positive integer"):
        load(file)


def test_one_request_without_a_server_is_traced_too(
    tmp_path: Path, cache: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "settings.toml").write_text(EXPORT)
    for name, value in collector.environment.items():
        monkeypatch.setenv(name, value)
    command = ["run", str(tmp_path / "hello.wat"), "--settings", str(tmp_path / "settings.toml")]
    command += ["--cache-dir", str(cache), "-H", f"traceparent: {trace()['traceparent']}"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert [span.trace_id.hex() for span in collector.wait_for(2)] == [TRACE, TRACE]
