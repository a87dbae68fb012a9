"""The request body, spooled before the guest starts: a slow client holds no sandbox."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from .cgi.environ import RequestHead
from .config import Limits
from .errors import BadFraming, BodyTooLarge, ClientDisconnect, RequestTimeout
from .spool import Spool


def check_framing(request: RequestHead) -> None:
    """Refuses a body whose end two readers could see in two places: request smuggling (RFC 9112 section 6.3).

    Raises BadFraming.
    """
    codings = request.values(b"transfer-encoding")
    lengths = request.values(b"content-length")
    if codings and lengths:
        raise BadFraming("the request has both Transfer-Encoding and Content-Length")
    if codings and request.http_version == "1.0":
        raise BadFraming("the HTTP/1.0 request has a Transfer-Encoding")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadFraming(f"the request has a Transfer-Encoding other than chunked: {b', '.join(codings)[:80]!r}")
    if len(set(lengths)) > 1 or not all(length.isdigit() for length in lengths):
        raise BadFraming(f"the request has no single Content-Length: {b', '.join(lengths)[:80]!r}")


async def read_body(spool: Spool, request: RequestHead, receive: Receive, limits: Limits) -> None:
    """Reads the whole body into `spool`.

    Raises BodyTooLarge (from the declared length, before anything is read and `100 Continue` is sent), RequestTimeout,
    ClientDisconnect for an upload that was broken off, AtCapacity when there is no room for it.
    """
    declared = request.values(b"content-length")
    if declared and int(declared[0]) > limits.body:
        raise BodyTooLarge(f"the request body has {declared[0].decode()} bytes, more than limits.body ({limits.body})")
    if request.http_version.startswith("1.") and declared in ([], [b"0"]) and not request.values(b"transfer-encoding"):
        return
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
