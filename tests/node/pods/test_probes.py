"""Probes: their fields, thresholds and requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.pods import free_port
from wagi_gateway.node.pods.probes import Probe, ProbeFailed, ProbeResult, attempt, read_probe

HTTP = Probe(kind="http", port=1)


def test_the_fields_of_a_probe() -> None:
    container = {
        "ports": [{"name": "web", "containerPort": 3001}],
        "livenessProbe": {
            "httpGet": {"port": "web", "path": "/live", "httpHeaders": [{"name": "X-A", "value": "1"}]},
            "initialDelaySeconds": 5,
            "periodSeconds": 3,
            "timeoutSeconds": 2,
            "failureThreshold": 1,
            "terminationGracePeriodSeconds": 0,
        },
        "readinessProbe": {"tcpSocket": {"port": 3001}},
        "startupProbe": {"exec": {"command": ["x"]}},
    }
    live = read_probe(container, "livenessProbe")
    assert live is not None
    assert (live.port, live.path, live.headers, live.failure_threshold) == (3001, "/live", (("X-A", "1"),), 1)
    assert (live.initial_delay, live.period, live.timeout, live.grace) == (5, 3, 2, 0)
    assert read_probe(container, "readinessProbe") == Probe(kind="tcp", port=3001)
    assert read_probe(container, "startupProbe") is None
    assert read_probe({}, "startupProbe") is None


@pytest.mark.parametrize(
    ("thresholds", "attempts", "values"),
    [
        ((1, 3), [True, False, False, True, False, False, False], [True, True, True, True, True, True, False]),
        ((2, 1), [True, True, False, True, True], [None, True, False, False, True]),
    ],
)
def test_a_result_changes_at_its_threshold(
    thresholds: tuple[int, int], attempts: list[bool], values: list[bool | None]
) -> None:
    result = ProbeResult(*thresholds)
    seen, changes = [], []
    for one in attempts:
        changes.append(result.count(is_success=one))
        seen.append(result.value)
    assert seen == values
    assert changes == [now != before for before, now in zip([None, *values], values, strict=False)]


def probe_of(answer: bytes | None, **fields: Any) -> tuple[str, bytes]:
    """The message of a probe of a server that sends `answer`, and the request; None accepts and says nothing."""
    requests: list[bytes] = []
    handlers: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        if answer is None:
            await reader.read()
        else:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
        writer.close()

    async def go() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        probe = Probe(**{"kind": "http", "port": port, "timeout": 60.0, **fields})
        try:
            await attempt(probe, ("127.0.0.1", port), port)
        except ProbeFailed as error:
            return str(error)
        finally:
            server.close()
            await asyncio.gather(*filter(None, handlers))
        return "success"

    return asyncio.run(go()), b"".join(requests)


@pytest.mark.parametrize(
    ("answer", "fields", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", {}, "success"),
        (b"HTTP/1.0 399\r\n", {}, "success"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "statuscode: 400"),
        (b"HTTP/1.1 503 x\r\n\r\n", {}, "statuscode: 503"),
        (b"nonsense\n", {}, "not one of HTTP"),
        (b"", {}, "without an answer"),
        (b"x" * 100_000, {}, "without an answer"),
        (None, {"timeout": 0.05}, "no answer within 0.05 s"),
        (None, {"kind": "tcp"}, "success"),
        (None, {"scheme": "HTTPS"}, "HTTPS"),
        (None, {"path": "/a b"}, "not that of a URL"),
        (None, {"path": "/a\r\nX: y"}, "not that of a URL"),
        (None, {"headers": (("X", "a\r\nY: b"),)}, "not a header field"),
        (None, {"headers": (("a b", ""),)}, "not a header field"),
        (None, {"port": 22}, "listens on port"),
    ],
)
def test_an_attempt(answer: bytes | None, fields: dict[str, Any], message: str) -> None:
    assert message in probe_of(answer, **fields)[0]


def test_the_request_has_the_headers_of_the_probe() -> None:
    _, request = probe_of(b"HTTP/1.1 200 OK\r\n\r\n", path="live?x=1", headers=(("host", "a.example"), ("X-A", "1")))
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /live?x=1 HTTP/1.1"
    assert {"host: a.example", "X-A: 1", "Connection: close"} <= set(lines)
    assert not any(line.startswith("Host:") for line in lines)


def test_a_refused_connection() -> None:
    port = free_port()
    with pytest.raises(ProbeFailed, match=r"127\.0\.0\.1"):
        asyncio.run(attempt(Probe(kind="tcp", port=port), ("127.0.0.1", port), port))
