"""A response as ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
from starlette.types import Message

from tests.support.error_body import error_body
from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.cgi.response import ResponseHead
from wagi_gateway.errors import (
    AtCapacity,
    BadFraming,
    BodyTooLarge,
    ClientDisconnect,
    FilesOnly,
    GuestFailed,
    NotFound,
    RangeUnsatisfiable,
    RequestError,
)
from wagi_gateway.http.reply import Reply

HEAD = ResponseHead(200, ((b"content-type", b"text/plain"),), None)
Send = Callable[[Reply], Coroutine[None, None, None]]


@dataclass
class Sent:
    """A reply, and the messages that it has sent to the server."""

    reply: Reply
    headers: dict[bytes, bytes] = field(default_factory=dict)
    bodies: list[tuple[bytes, bool]] = field(default_factory=list)


def sent(send: Send, method: str = "GET") -> Sent:
    messages: list[Message] = []

    async def server(message: Message) -> None:
        messages.append(message)

    request = RequestHead(method, b"/", b"", "1.1", "http", (), None, None, "r1")
    reply = Reply(request, server)
    asyncio.run(send(reply))
    start, *rest = messages
    assert start["type"] == "http.response.start"
    assert start["status"] == reply.status
    assert len(start["headers"]) == len(dict(start["headers"])), "a field is repeated"
    return Sent(reply, dict(start["headers"]), [(message["body"], message["more_body"]) for message in rest])


def test_a_whole_response() -> None:
    result = sent(lambda reply: reply.whole(HEAD, b"hello"))
    assert result.headers == {b"content-type": b"text/plain", b"content-length": b"5", b"x-request-id": b"r1"}
    assert result.bodies == [(b"hello", False)]
    assert (result.reply.size, result.reply.is_started, result.reply.is_ended) == (5, True, True)


@pytest.mark.parametrize(
    ("status", "method", "own", "body", "length"),
    [
        (200, "GET", b"99", b"hello", b"5"),
        (200, "GET", None, b"", b"0"),
        (200, "HEAD", None, b"hello", b"5"),
        (200, "HEAD", b"99", b"", b"99"),
        (200, "HEAD", b"99", None, b"99"),
        (200, "HEAD", b"9,9", b"", None),
        (200, "HEAD", None, None, None),
        (204, "GET", b"99", b"", None),
        (205, "GET", b"99", b"", b"0"),
        (304, "GET", b"99", b"", None),
    ],
)
def test_content_length(status: int, method: str, own: bytes | None, body: bytes | None, length: bytes | None) -> None:
    result = sent(lambda reply: reply.whole(ResponseHead(status, (), own), body), method)
    assert result.headers.get(b"content-length") == length


@pytest.mark.parametrize(("method", "bodies"), [("GET", [b"a", b"bc", b""]), ("HEAD", [b"", b"", b""])])
def test_pieces(method: str, bodies: list[bytes]) -> None:
    async def send(reply: Reply) -> None:
        await reply.start(HEAD)
        await reply.send(b"a")
        await reply.send(b"bc")
        assert not reply.is_ended
        await reply.end()

    result = sent(send, method)
    assert b"content-length" not in result.headers
    assert result.bodies == [(body, number < 2) for number, body in enumerate(bodies)]
    assert result.reply.size == len(b"".join(bodies))


def test_an_announced_length() -> None:
    assert sent(lambda reply: reply.start(HEAD, length=7)).headers[b"content-length"] == b"7"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body(status: int) -> None:
    assert sent(lambda reply: reply.whole(ResponseHead(status, (), None), b"x")).bodies == [(b"", False)]


@pytest.mark.parametrize(
    ("error", "close", "fields", "public"),
    [
        (GuestFailed("inside"), False, {}, "Internal Server Error: the module failed"),
        (GuestFailed("inside"), True, {b"connection": b"close"}, "Internal Server Error: the module failed"),
        (NotFound("inside"), False, {}, "Not Found"),
        (AtCapacity("inside"), False, {b"retry-after": b"1"}, AtCapacity.public),
        (FilesOnly("inside"), False, {b"allow": b"GET, HEAD"}, "Method Not Allowed"),
        (BadFraming("inside"), False, {b"connection": b"close"}, "Bad Request"),
        (BadFraming("inside"), True, {b"connection": b"close"}, "Bad Request"),
        (
            BodyTooLarge("inside", bound=7),
            False,
            {},
            "Content Too Large: the request body may have at most 7 bytes",
        ),
        (
            RangeUnsatisfiable("inside", size=7),
            False,
            {b"content-range": b"bytes */7"},
            "Range Not Satisfiable",
        ),
    ],
    ids="500|500 and close|404|503|405|400|400 and close|413|416".split("|"),
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors(error: RequestError, close: bool, fields: dict[bytes, bytes], public: str, method: str) -> None:
    result = sent(lambda reply: reply.send_error(error, close=close), method)
    body = error_body(public, "r1").encode()
    length = {b"content-length": b"%d" % len(body), b"x-request-id": b"r1"}
    text = {b"content-type": b"text/plain; charset=utf-8"}
    assert (result.reply.status, result.headers) == (error.status, fields | text | length)
    assert result.bodies == [(body if method == "GET" else b"", False)]


def test_an_error_that_is_ended_later() -> None:
    result = sent(lambda reply: reply.send_error(NotFound(), is_last=False))
    assert result.bodies == [(error_body("Not Found", "r1").encode(), True)]
    assert not result.reply.is_ended


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ConnectionResetError(), ClientDisconnect),
        (RuntimeError("the handler is closed"), ClientDisconnect),
        (RuntimeError("a defect"), RuntimeError),
    ],
)
def test_a_lost_connection(error: Exception, raised: type[Exception]) -> None:
    async def server(_message: Message) -> None:
        raise error

    reply = Reply(RequestHead("GET", b"/", b"", "1.1", "http", (), None, None, "r1"), server)
    with pytest.raises(raised):
        asyncio.run(reply.whole(HEAD, b"hello"))
