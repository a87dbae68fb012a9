"""The body of a request: its framing, its bounds, and the client's disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from starlette.types import Message, Receive

from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.config.settings import Limits
from wagi_gateway.errors import AtCapacity, BadFraming, BodyTooLarge, ClientDisconnect, RequestError, RequestTimeout
from wagi_gateway.http.request import (
    check_framing,
    discard_body,
    has_body,
    read_body,
    unless_disconnected,
    watch_disconnect,
)
from wagi_gateway.http.spool import Spool, SpoolBudget

T = TypeVar("T")
GONE: Message = {"type": "http.disconnect"}


def request(*headers: tuple[bytes, bytes], version: str = "1.1") -> RequestHead:
    return RequestHead("POST", b"/", b"", version, "http", headers, None, None, "r1")


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def receiving(*messages: Message) -> Receive:
    """The `receive` of a client that sends these messages, and then nothing."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        async with asyncio.timeout(20):
            return await awaitable

    return asyncio.run(main())


LENGTH, CHUNKED = b"content-length", (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (request(), False),
        (request((LENGTH, b"0")), False),
        (request((LENGTH, b"1")), True),
        (request((LENGTH, b"0"), (LENGTH, b"0")), True),
        (request(CHUNKED), True),
        (request(version="2"), True),
    ],
    ids="none|0|1|twice|chunked|HTTP/2".split("|"),
)
def test_whether_there_is_a_body(head: RequestHead, expected: bool) -> None:
    assert has_body(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        request(),
        request((LENGTH, b"3")),
        request((LENGTH, b"3"), (LENGTH, b"3")),
        request(CHUNKED),
        request((b"transfer-encoding", b"Chunked")),
        request(version="1.0"),
        request((LENGTH, b"3"), version="3"),
    ],
)
def test_framing_that_is_accepted(head: RequestHead) -> None:
    check_framing(head)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (request(version="0.9"), "speaks HTTP/0.9"),
        (request(CHUNKED, (LENGTH, b"3")), "both Transfer-Encoding and Content-Length"),
        (request(CHUNKED, version="1.0"), "HTTP/1.0 request has a Transfer-Encoding"),
        (request((b"transfer-encoding", b"gzip, chunked")), "other than chunked"),
        (request(CHUNKED, CHUNKED), "other than chunked"),
        (request((LENGTH, b"3"), (LENGTH, b"4")), "no single Content-Length"),
        (request((LENGTH, b"3, 3")), "no single Content-Length"),
        (request((LENGTH, b"+3")), "no single Content-Length"),
        (request((LENGTH, b"9" * 19)), "no single Content-Length"),
    ],
)
def test_framing_that_is_refused(head: RequestHead, message: str) -> None:
    with pytest.raises(BadFraming, match=message):
        check_framing(head)


@pytest.mark.parametrize("pieces", [[b""], [b"hello"], [b"he", b"", b"llo"]])
def test_a_body_is_read_whole(pieces: list[bytes]) -> None:
    messages = [body(piece, more=True) for piece in pieces] + [body(b"")]
    with Spool(SpoolBudget(100, 100)) as spool:
        run(read_body(spool, request(CHUNKED), receiving(*messages), Limits()))
        assert spool.content() == b"".join(pieces)


@pytest.mark.parametrize(
    ("head", "messages", "budget", "error"),
    [
        (request((LENGTH, b"11")), [], 100, BodyTooLarge),
        (request(CHUNKED), [body(b"x" * 6, more=True), body(b"x" * 5)], 100, BodyTooLarge),
        (request(CHUNKED), [body(b"x", more=True)], 100, RequestTimeout),
        (request(CHUNKED), [body(b"x", more=True), GONE], 100, ClientDisconnect),
        (request(CHUNKED), [body(b"x" * 9)], 8, AtCapacity),
    ],
    ids="declared length|length|time|disconnect|budget".split("|"),
)
def test_bodies_that_are_refused(
    head: RequestHead, messages: list[Message], budget: int, error: type[RequestError]
) -> None:
    with pytest.raises(error), Spool(SpoolBudget(budget, 100)) as spool:
        run(read_body(spool, head, receiving(*messages), Limits(body=10, body_time=0.05)))


@pytest.mark.parametrize("last", [body(b""), GONE], ids=["end", "disconnect"])
def test_a_refused_body_is_drained(last: Message) -> None:
    left = [body(b"x", more=True), body(b"y", more=True), last]

    async def receive() -> Message:
        return left.pop(0)

    run(discard_body(receive))
    assert not left


def test_a_silent_client_is_not_drained_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wagi_gateway.http.request._LINGER_IDLE", 0.01)
    run(discard_body(receiving(body(b"x", more=True))))


def test_a_result_before_the_disconnect() -> None:
    async def result() -> str:
        return "done"

    assert run(unless_disconnected(receiving(), result())) == "done"


def test_a_disconnect_cancels() -> None:
    async def main() -> bool:
        waiting = asyncio.create_task(asyncio.Event().wait())
        with pytest.raises(ClientDisconnect):
            await unless_disconnected(receiving(body(b""), GONE), waiting)
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert run(main())


@pytest.mark.parametrize("is_ended", [False, True], ids=["watched", "watch ended"])
def test_a_watched_disconnect(is_ended: bool) -> None:
    async def main() -> list[str]:
        calls: list[str] = []
        on_disconnect: Callable[[], None] = lambda: calls.append("gone")  # noqa: E731
        watch = watch_disconnect(receiving(GONE), on_disconnect)
        if is_ended:
            watch.cancel()
        await asyncio.wait([watch])
        return calls

    assert run(main()) == ([] if is_ended else ["gone"])
