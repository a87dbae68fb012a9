"""The request body, spooled before the guest starts: a slow client holds no sandbox."""

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

_VERSIONS = ("1.1", "1.0", "2", "3")
_LENGTH = re.compile(rb"\d{1,18}")
_LINGER, _LINGER_IDLE = 30.0, 2.0
"""Seconds in which a client may finish sending a body nobody wants, and for which it may be silent meanwhile."""


def has_body(request: RequestHead) -> bool:
    """Whether a body may follow the head; of HTTP/2 and later only the server knows."""
    if not request.http_version.startswith("1."):
        return True
    return bool(request.values(b"transfer-encoding")) or request.values(b"content-length") not in ((), [b"0"])


async def discard_body(receive: Receive) -> None:
    """Reads what is left of a refused body, while it comes: closing with unread data would reset the connection, and
    the client, or the proxy between, would never see the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            more = True
            while more:
                message = await asyncio.wait_for(receive(), _LINGER_IDLE)
                more = message["type"] == "http.request" and message.get("more_body", False)


def check_framing(request: RequestHead) -> None:
    """Refuses a body whose end two readers could see in two places: request smuggling (RFC 9112 section 6.3).

    Raises BadFraming.
    """
    if request.http_version not in _VERSIONS:
        raise BadFraming(f"the request speaks HTTP/{request.http_version}, which nobody here does")
    codings = request.values(b"transfer-encoding")
    lengths = request.values(b"content-length")
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
    """Reads the whole body of a request that has one into `spool`.

    Raises BodyTooLarge (from the declared length, before anything is read and `100 Continue` is sent), RequestTimeout,
    ClientDisconnect for an upload that was broken off, AtCapacity when there is no room for it.
    """
    declared = request.values(b"content-length")
    if declared and int(declared[0]) > limits.body:
        raise BodyTooLarge(f"the request body has {declared[0].decode()} bytes, more than limits.body ({limits.body})")
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
                raise BodyTooLarge(f"the request body is larger than limits.body ({limit})")
            await spool.write(data)
        if not message.get("more_body", False):
            return


T = TypeVar("T")


class Client:
    """Looks for a disconnect once the request's body has been read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    async def unless_gone(self, awaitable: Awaitable[T]) -> T:
        """Awaits, but no longer than the client does. Raises ClientDisconnect."""
        waiting = asyncio.ensure_future(awaitable)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise ClientDisconnect
        finally:
            gone.cancel()
            waiting.cancel()

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Has `on_gone` called when the client leaves, until `forget`."""
        self._watch = asyncio.get_running_loop().create_task(self._call_when_gone(on_gone))

    def forget(self) -> None:
        """What the client does is of no more interest."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _call_when_gone(self, on_gone: Callable[[], None]) -> None:
        await self._gone()
        on_gone()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
