"""The record of a request: its log lines and its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from tests.support import guests
from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.cgi.response import ResponseHead
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.errors import AtCapacity, BadOutput, NotFound
from wagi_gateway.gateway.generation import Generation
from wagi_gateway.gateway.record import RequestRecord
from wagi_gateway.http.reply import Reply
from wagi_gateway.observe.worker_metrics import NO_ROUTE, RequestEvent, WorkerMetrics
from wagi_gateway.site.load import load

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Lines(logging.Handler):
    """The records of the gateway's loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        return [(line.getMessage(), vars(line)["fields"]) for line in self.records if line.name == name]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("wagi_gateway")
    access = logging.getLogger("wagi_gateway.access")
    monkeypatch.setattr(access, "disabled", False)
    level = access.level
    access.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    access.setLevel(level)


@pytest.fixture
def generation(tmp_path: Path) -> Iterator[Generation]:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    module = {"route": "/m/...", "module": str(tmp_path / "m.wat")}
    site = load(config_from_tables(Path("test"), {"module": [module], "cache": {"enabled": False}}))
    yield Generation(site, WorkerMetrics())
    site.close()


def request(*headers: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead("GET", b"/m/x", b"q=1", "1.1", "http", headers, ("192.0.2.7", 9), None, "r1")


def reply(*, status: int = 0, is_whole: bool = True) -> Reply:
    """A reply that has sent nothing, a head and a piece of a body, or a whole response."""

    async def send(_message: Message) -> None:
        pass

    async def main() -> Reply:
        reply = Reply(request(), send)
        if status:
            await reply.start(ResponseHead(status, (), None))
            await reply.send(b"abc")
            if is_whole:
                await reply.end()
        return reply

    return asyncio.run(main())


def record(generation: Generation, *headers: tuple[bytes, bytes]) -> RequestRecord:
    record = RequestRecord(request(*headers), generation)
    record.route, record.config_route = "/m/x", "/m/..."
    return record


def events(generation: Generation) -> list[tuple[str, int, int]]:
    assert generation.metrics
    return [(event.route, event.status, event.body_size) for event in generation.metrics.requests]


def test_a_response(generation: Generation, lines: Lines) -> None:
    one = record(generation, (b"traceparent", TRACE))
    one.stop_clock()
    one.finish(reply(status=200), None)
    ((message, fields),) = lines.of("wagi_gateway.access")
    assert message in ("GET /m/x", "GET /m/x?q=1")
    assert fields.pop("ms") > 0
    assert fields == {
        "status": 200,
        "route": "/m/x",
        "bytes": 3,
        "client": "192.0.2.7",
        "id": "r1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert lines.of("wagi_gateway") == []
    assert events(generation) == [("/m/...", 200, 3)]


def test_a_request_without_a_route(generation: Generation) -> None:
    one = RequestRecord(request(), generation)
    one.finish(reply(status=404), None)
    assert generation.metrics
    assert generation.metrics.requests == [RequestEvent(NO_ROUTE, 404, 0.0, 3)]


@pytest.mark.parametrize(
    ("error", "started", "warning"),
    [
        (BadOutput("no colon"), False, "502: no colon"),
        (BadOutput("no colon"), True, "no colon; the response was cut off"),
        (AtCapacity("full", limit="queue"), False, "503: full"),
    ],
    ids=["5xx", "cut off", "limit"],
)
def test_a_failure_of_the_module_is_a_warning(
    generation: Generation, lines: Lines, error: BadOutput, started: bool, warning: str
) -> None:
    one = record(generation)
    one.set_error(error, is_started=started)
    one.finish(reply(status=200 if started else error.status, is_whole=not started), None)
    assert lines.of("wagi_gateway") == [(warning, {"route": "/m/x", "id": "r1"})]
    assert "reason" not in lines.of("wagi_gateway.access")[0][1]


def test_a_failure_of_the_client_is_a_reason(generation: Generation, lines: Lines) -> None:
    one = record(generation)
    one.set_error(NotFound("no route matches"), is_started=False)
    one.finish(reply(status=404), None)
    assert lines.of("wagi_gateway") == []
    assert lines.of("wagi_gateway.access")[0][1]["reason"] == "no route matches"


@pytest.mark.parametrize(
    ("status", "logged", "reason"),
    [(0, 499, "the client went away"), (200, 200, "the client went away; the response was cut off")],
)
def test_a_disconnect(generation: Generation, lines: Lines, status: int, logged: int, reason: str) -> None:
    one = record(generation)
    one.disconnect()
    one.finish(reply(status=status, is_whole=False), None)
    fields = lines.of("wagi_gateway.access")[0][1]
    assert (fields["status"], fields["reason"]) == (logged, reason)
    assert lines.of("wagi_gateway") == []


@pytest.mark.parametrize(("is_propagated", "expected"), [(True, ((b"traceparent", TRACE),)), (False, None)])
def test_calls_carry_the_trace_if_it_is_propagated(
    generation: Generation, is_propagated: bool, expected: tuple[tuple[bytes, bytes], ...] | None
) -> None:
    begin = record(generation, (b"traceparent", TRACE)).begin_call(is_propagated=is_propagated)
    assert (tuple(begin("GET", None)[0]) if begin else None) == expected  # type: ignore[arg-type]
