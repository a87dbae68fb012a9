"""The admin listener of a running server."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from tests.conftest import ROOT, Serve, Server, running, wait_until
from tests.support import guests
from tests.support.admin import ADMIN, Series, admin, ask, scrape, value
from tests.support.attacks import LONG_NAP, NAP, get, send, together, wait_for_work
from tests.support.config import guest
from wagi_gateway.cli.main import app
from wagi_gateway.observe.metrics import BY_NAME

UNFINISHED = b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"


def settled(server: Server) -> Series:
    """Waits until all requests in the log are counted; returns all samples."""

    def is_settled() -> bool:
        counted = sum(value for (name, _), value in scrape(server).items() if name == "wagi_requests_total")
        return counted == len(re.findall(r" status=\d+ route=", server.log))

    wait_until(is_settled, message=lambda: f"{scrape(server)}\n{server.log}")
    return scrape(server)


def counters(series: Series) -> Series:
    """The counters: samples that never decrease."""
    of_processes = "process_cpu_seconds_total"  # starts at 0 again when a worker is replaced
    return {
        (name, labels): value
        for (name, labels), value in series.items()
        if name.endswith(("_total", "_bucket", "_count", "_sum")) and name != of_processes
    }


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def hello(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("hello")
    for name, wat in {"hello": guests.HELLO, "trap": guests.TRAP}.items():
        (directory / f"{name}.wat").write_text(wat)
    text = ADMIN + guest("/hello/...", "hello") + guest("/trap", "trap")
    with running(directory, text, "--workers", request.param, cache=cache) as server:
        yield server


def test_requests_are_counted_once_over_all_workers(hello: Server) -> None:
    before = settled(hello)
    together(8, lambda _: [httpx.get(f"{hello.url}/hello/x", trust_env=False) for _ in range(5)])
    hello.get("/trap")
    series = {key: value - before.get(key, 0) for key, value in settled(hello).items()}
    route = ("route", "/hello/...")
    assert series["wagi_requests_total", frozenset((route, ("status", "200")))] == 40
    assert series["wagi_requests_total", frozenset((("route", "/trap"), ("status", "500")))] == 1
    assert series["wagi_guest_traps_total", frozenset((("route", "/trap"), ("trap", "unreachable")))] == 1
    assert series["wagi_response_bytes_total", frozenset((route,))] == 40 * len("hello world\n")
    for name in ("wagi_request_duration_seconds", "wagi_guest_duration_seconds"):
        assert series[f"{name}_count", frozenset((route,))] == 40
        assert series[f"{name}_bucket", frozenset((route, ("le", "+Inf")))] == 40
        assert 0 < series[f"{name}_sum", frozenset((route,))] < 40
    by_executor = [value for (name, labels), value in series.items() if name == "wagi_guests_total" and route in labels]
    assert sum(by_executor) == 40
    wait_until(lambda: value(hello, "wagi_requests_in_flight") == 0)


def test_every_sample_is_of_a_metric_that_is_described(hello: Server) -> None:
    names = {re.sub("_(bucket|count|sum)$", "", name) for name, _ in scrape(hello)}
    assert names <= set(BY_NAME)


def test_status(hello: Server) -> None:
    status = ask(hello, "/status").json()
    wanted = 2 if len(status["processes"]) == 3 else 1
    assert status["ready"] is True
    assert status["workers"] == {"desired": wanted, "ready": wanted}
    assert {process["pid"] for process in status["processes"]} >= {hello.process.pid}
    first = status["modules"][0]
    assert (first["route"], first["source"], first["in_flight"], first["queue"]) == ("/hello/...", "hello.wat", 0, 0)
    assert re.fullmatch("sha256:[0-9a-f]{64}", first["digest"])
    assert first["limits"]["concurrency"] == 16


def test_readiness_requires_every_worker(hello: Server) -> None:
    assert (ask(hello, "/readyz").status_code, ask(hello, "/readyz").text) == (200, "OK")
    assert ask(hello, "/healthz").text == "OK"
    assert value(hello, "wagi_ready") == 1


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_stopping_server_is_not_ready(count: str, serve: Serve) -> None:
    server = serve(ADMIN + guest("/nap", "nap"), "--workers", count, nap=NAP)
    with send(server, get("/nap?now")) as connection:
        wait_for_work(server, "/nap")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(server, "/readyz").text == "the server is stopping\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_no_input_of_a_client_becomes_a_label(hello: Server) -> None:
    before = set(scrape(hello))
    hello.get("/hello/a")
    hello.get("/nothing")
    known = set(settled(hello))
    for path in ("/hello/b?c=d", "/hello/%00", "/hello/%ff", "/x" * 99, '/"}1{', "/hello/" + "a" * 3000, "/é"):
        hello.get(path)
    for method in (b"BREW", b"OPTIONS", b"TRACE", b"A" * 200):
        hello.exchange(method + b" /hello/y HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    new = {(name, labels) for name, labels in set(settled(hello)) - known if name != "wagi_requests_total"}
    assert not new
    statuses = {dict(labels)["status"] for name, labels in set(scrape(hello)) - before if name == "wagi_requests_total"}
    assert statuses <= {"200", "204", "400", "404", "405", "414"}


def test_a_guest_chooses_no_label(serve: Serve) -> None:
    printed = "".join(f"/r{number} _start\n" for number in range(50)).encode()
    answer = guests.CONTENT_TYPE.replace(b"\n\n", b"\nstatus: 599 odd\n\n")
    whole, part = (f"(i32.const {len(text)}))" for text in (answer + printed, answer))
    wat = guests.says(answer + printed).replace(whole, part, 1)
    of_routes = f"""(func (export "_routes")
      (call $write (i32.const 1) (i32.const {1024 + len(answer)}) (i32.const {len(printed)})))"""
    server = serve(ADMIN + guest("/odd/...", "odd"), odd=wat.removesuffix(")") + of_routes + ")")
    assert len(server.stdout) > 50
    assert server.get("/odd/r7").status_code == 599
    labels = {labels for name, labels in settled(server) if name == "wagi_requests_total"}
    assert labels == {frozenset((("route", "/odd/..."), ("status", "5xx")))}
    assert {dict(labels)["route"] for _, labels in scrape(server) if "route" in dict(labels)} == {"/odd/..."}


def test_counters_of_alerts_start_at_zero(serve: Serve) -> None:
    """Prometheus sees no increase in a series whose first value is 1."""
    series = scrape(serve(ADMIN + guest("/hello", "hello"), hello=guests.HELLO))
    rules = yaml.safe_load((ROOT / "deploy/prometheus/wagi-gateway.rules.yml").read_text())["groups"][0]["rules"]
    increases = re.findall(r"increase\((\w+)(?:\{(\w+)=~?\"([^\"]+)\"\})?\[", " ".join(rule["expr"] for rule in rules))
    wanted = {(name, label, one) for name, label, values in increases for one in values.split("|")}
    assert len(wanted) > 5
    there = {(name, *pair) for name, labels in series for pair in labels or {("", "")}}
    assert wanted <= there


def test_running_and_queued_requests_are_seen(serve: Serve) -> None:
    server = serve(ADMIN + guest("/nap", "nap", concurrency=1, queue=1), nap=LONG_NAP)
    with send(server, get("/nap?now")) as first:
        wait_for_work(server, "/nap")
        with send(server, get("/nap")) as second:
            wait_until(lambda: value(server, "wagi_queue_length", route="/nap") == 1)
            assert value(server, "wagi_guests_running", route="/nap") == 1
            assert value(server, "wagi_requests_in_flight") == 2
            assert httpx.get(f"{server.url}/nap", trust_env=False).status_code == 503
            second.recv(65536)
        first.recv(65536)
    settled(server)
    wait_until(lambda: value(server, "wagi_requests_in_flight") == 0)
    assert value(server, "wagi_queue_length", route="/nap") == 0
    assert value(server, "wagi_guests_running", route="/nap") == 0
    assert value(server, "wagi_limit_hits_total", route="/nap", limit="queue") == 1


HIT: dict[str, tuple[dict[str, object], str, bytes]] = {
    "time": ({"time": "100ms"}, guests.LOOP, b""),
    "stdout": ({"stdout": "64KiB"}, guests.ENDLESS_STDOUT, b""),
    "stderr": ({"stderr": "1KiB", "time": "200ms"}, guests.ENDLESS_STDERR, b""),
    "memory": ({"memory": "24MiB"}, guests.MEMORY_BOMB, b""),
    "body": ({"body": "10B"}, guests.HELLO, b"x" * 11),
    "header_block": ({"header_block": "256B"}, guests.says(b"a: " + b"b" * 300 + b"\n\n"), b""),
}
"""Limits, with the settings, the guest and the request body that reach them."""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with the guests of HIT."""
    directory = tmp_path_factory.mktemp("limited")
    for limit, (_, wat, _) in HIT.items():
        (directory / f"{limit}.wat").write_text(wat)
    text = ADMIN + "".join(guest(f"/{limit}", limit, **settings) for limit, (settings, _, _) in HIT.items())
    with running(directory, text, cache=cache) as server:
        yield server


@pytest.mark.parametrize("limit", HIT)
def test_limits_that_are_hit(limit: str, limited: Server) -> None:
    with contextlib.suppress(httpx.RemoteProtocolError):  # bytes over the limit
        limited.post(f"/{limit}", HIT[limit][2])
    wait_until(lambda: value(limited, "wagi_limit_hits_total", route=f"/{limit}", limit=limit) == 1)


def test_open_and_refused_connections(serve: Serve) -> None:
    config = "[server]\nmax_connections = 2\n" + ADMIN + guest("/hello", "hello")
    server = serve(config, "--workers", "2", hello=guests.HELLO)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(send(server, UNFINISHED)) for _ in range(10)]

        def refused() -> int:
            """Connections with a response: none of the others has one before its body is there."""
            return len(select.select(connections, [], [], 0)[0])

        def is_settled() -> bool:
            counted = value(server, "wagi_connections_refused_total")
            return 6 <= refused() == counted and value(server, "wagi_connections") == 10 - counted

        wait_until(is_settled)
        for connection in set(connections) - set(select.select(connections, [], [], 0)[0]):
            connection.sendall(b"x")
        answers = Counter(connection.recv(65536)[9:12] for connection in connections)
        assert set(answers) == {b"200", b"503"}
        wait_until(lambda: value(server, "wagi_connections_refused_total") == answers[b"503"])
    wait_until(lambda: value(server, "wagi_connections") == 0)
    assert value(server, "wagi_requests_total", route="/hello", status="200") == answers[b"200"]
    worker = next(one for one in ask(server, "/status").json()["processes"] if one["name"] == "worker-1")
    os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: value(server, "wagi_worker_deaths_total") == 1)
    assert value(server, "wagi_connections_refused_total") == answers[b"503"]


def test_no_count_is_lost_when_a_worker_is_killed(serve: Serve) -> None:
    server = serve(ADMIN + guest("/hello", "hello"), "--workers", "2", hello=guests.HELLO)

    def work() -> None:
        together(4, lambda _: [httpx.get(f"{server.url}/hello", trust_env=False) for _ in range(5)])

    for round_ in range(1, 4):
        work()
        before = counters(settled(server))
        workers = [one for one in ask(server, "/status").json()["processes"] if one["name"] != "supervisor"]
        os.kill(workers[0]["pid"], signal.SIGKILL)
        while value(server, "wagi_worker_deaths_total") < round_ or value(server, "wagi_workers") < 2:
            after = counters(scrape(server))
            assert all(after[key] >= number for key, number in before.items())
            before = after
        assert value(server, "wagi_requests_total", route="/hello", status="200") == round_ * 20
    assert value(server, "wagi_worker_starts_total") == 5
    wait_until(lambda: ask(server, "/readyz").status_code == 200)


def test_counts_outlive_workers_that_are_replaced(serve: Serve) -> None:
    server = serve(ADMIN + guest("/hello", "hello"), "--workers", "2", hello=guests.HELLO)
    for _ in range(10):
        server.get("/hello")
    before = counters(settled(server))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: value(server, "wagi_reloads_total", outcome="ok") == 1, 20)
    after = counters(scrape(server))
    assert all(after[key] >= number for key, number in before.items())
    assert value(server, "wagi_requests_total", route="/hello", status="200") == 10


@pytest.mark.parametrize("count", ["1", "2"])
def test_reload(count: str, serve: Serve) -> None:
    server = serve(ADMIN + guest("/hello", "hello"), "--workers", count, hello=guests.HELLO)
    path = server.log_path.with_name("modules.toml")
    right = path.read_text()
    path.write_text(right + guest("/more", "hello"))
    answer = httpx.post(f"{admin(server)}/reload", timeout=30, trust_env=False)
    assert (answer.status_code, answer.json()["ok"], answer.json()["routes"]) == (200, True, 2)
    assert server.get("/more").text == "hello world\n"
    assert [one["route"] for one in ask(server, "/status").json()["modules"]] == ["/hello", "/more"]
    path.write_text(right + "modul = 1\n")
    answer = httpx.post(f"{admin(server)}/reload", timeout=30, trust_env=False)
    assert answer.status_code == 409
    assert "did you mean module" in answer.json()["problems"][0]
    assert server.get("/more").text == "hello world\n"
    assert [value(server, "wagi_reloads_total", outcome=outcome) for outcome in ("ok", "failed")] == [1, 1]
    assert value(server, "wagi_last_reload_successful") == 0
    assert ask(server, "/status").json()["last_reload"]["ok"] is False
    assert ask(server, "/reload").status_code == 405


def test_a_unix_socket_is_the_gateways_users_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve('[admin]\nlisten = "unix:admin.sock"\n' + guest("/hello", "hello"), hello=guests.HELLO)
    path = tmp_path / "admin.sock"
    assert admin(server) == f"http://unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://anything/readyz").text == "OK"
        assert "wagi_ready 1.0" in client.get("http://anything/metrics").text
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(10)
    assert not path.exists()


def test_without_an_admin_listener_nothing_is_counted(serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), hello=guests.HELLO)
    server.get("/hello")
    inodes = {os.readlink(f"/proc/{server.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.process.pid}/fd")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    assert len(listening) == 1
    assert not [name for name in inodes if "memfd:counts" in name]
    for path in ("/metrics", "/status", "/reload"):
        assert server.get(path).status_code == 404


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("quiet")
    (directory / "hello.wat").write_text(guests.HELLO)
    with running(directory, ADMIN + guest("/hello", "hello"), cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9100"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.rebound.example:9100"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
def test_web_pages_are_kept_out(headers: dict[str, str], status: int, quiet: Server) -> None:
    assert ask(quiet, "/status", **headers).status_code == status


def test_an_address_others_reach_gets_a_warning(tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text('[cache]\nenabled = false\n[admin]\nlisten = ":9100"\n' + guest("/hello", "hello"))
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["check", str(path)])
    assert result.exit_code == 0
    assert "whoever reaches this address" in result.output
    path.write_text(path.read_text().replace(":9100", "127.0.0.1:9100"))
    assert "whoever" not in CliRunner(env={"COLUMNS": "400"}).invoke(app, ["check", str(path)]).output


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(f'[cache]\nenabled = false\n[admin]\nlisten = "{address}"\n' + guest("/hello", "hello"))
        command = [sys.executable, "-m", "wagi_gateway", "serve", str(path), "--listen", "127.0.0.1:0"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 3
    assert f"admin.listen: cannot serve on {address}" in result.stderr
