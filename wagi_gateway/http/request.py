"""The request body, its framing, and the client's disconnect.

The body is spooled before the guest starts, so that a slow client occupies no sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import Receive

from ..cgi.request import RequestHead
from ..config.settings import Limits
from ..errors import BadFraming, BodyTooLarge, ClientDisconnect, RequestTimeout
from .spool import Spool

T = TypeVar("T")

_VERSIONS = ("1.1", "1.0", "2", "3")
_LENGTH = re.compile(rb"\d{1,18}")
_NO_BYTES = [b"0"]
_LINGER, _LINGER_IDLE = 30.0, 2.0
"""Seconds for which a refused body is drained at most, and for which the client may send nothing meanwhile."""


def has_body(request: RequestHead) -> bool:
    """Whether a body may follow the head (RFC 9112 section 6.3). In HTTP/2 and later the head does not say."""
    if not request.http_version.startswith("1."):
        return True
    fields = request.fields
    return b"transfer-encoding" in fields or fields.get(b"content-length", _NO_BYTES) != _NO_BYTES


async def discard_body(receive: Receive) -> None:
    """Drains the rest of a refused body, within bounds: closing with unread data would reset the connection, and the
    client, or a proxy, would lose the response (RFC 9112 section 9.6)."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            more = True
            while more:
                message = await asyncio.wait_for(receive(), _LINGER_IDLE)
                more = message["type"] == "http.request" and message.get("more_body", False)


def check_framing(request: RequestHead) -> None:
    """Raises BadFraming for a body whose length is ambiguous: request smuggling (RFC 9112 sections 6.3 and 11.2)."""
    if request.http_version not in _VERSIONS:
        raise BadFraming(f"the request speaks HTTP/{request.http_version}, which nobody here does")
    codings = request.fields.get(b"transfer-encoding", ())
    lengths = request.fields.get(b"content-length", ())
    if not codings and not lengths:
        return
    if codings and lengths:
        raise BadFraming("the request has both Transfer-Encoding and Content-Length")
    if codings and request.http_version == "1.0":
        raise BadFraming("the HTTP/1.0 request has a Transfer-Encoding")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadFraming(f"the request has a Transfer-Encoding other than chunked: {b', '.join(codings)[:80]!r}")
    if len(set(lengths)) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadFraming(f"the request has no single Content-Length: {b', '.join(lengths)[:80]!r}")


async def read_body(spool: Spool, request: RequestHead, receive: Receive, limits: Limits) -> None:
    """Reads the whole request body into `spool`.

    Raises BodyTooLarge, for a declared length before `100 Continue` is sent; RequestTimeout after `limits.body_time`;
    ClientDisconnect for an incomplete body; AtCapacity when `spool` is full.
    """
    declared = request.values(b"content-length")
    if declared and int(declared[0]) > limits.body:
        what = f"the request body has {declared[0].decode()} bytes, more than limits.body ({limits.body})"
        raise BodyTooLarge(what, bound=limits.body)
    try:
        async with asyncio.timeout(limits.body_time):
            await _spool(spool, receive, limits.body)
    except TimeoutError:
        what = f"the request body did not arrive within limits.body_time ({limits.body_time:g} s)"
        raise RequestTimeout(what) from None


async def _spool(spool: Spool, receive: Receive, limit: int) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if data := message.get("body", b""):
            if spool.size + len(data) > limit:
                raise BodyTooLarge(f"the request body is larger than limits.body ({limit})", bound=limit)
            await spool.write(data)
        if not message.get("more_body", False):
            return


async def unless_disconnected(receive: Receive, awaitable: Awaitable[T]) -> T:
    """The result of `awaitable`, which is cancelled when the client disconnects. Raises ClientDisconnect.

    Called after the request body was read: other messages of `receive` are dropped.
    """
    waiting = asyncio.ensure_future(awaitable)
    disconnected = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((waiting, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise ClientDisconnect
    finally:
        disconnected.cancel()
        waiting.cancel()


def watch_disconnect(receive: Receive, on_disconnect: Callable[[], None]) -> asyncio.Task[None]:
    """A task that calls `on_disconnect` when the client disconnects. Its cancellation ends the watch."""

    async def watch() -> None:
        await _disconnected(receive)
        on_disconnect()

    return asyncio.get_running_loop().create_task(watch())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
