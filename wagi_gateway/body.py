"""The request body, spooled before the guest starts: a slow client holds no sandbox."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from .cgi.environ import RequestHead
from .config import Limits
from .errors import AtCapacity, BodyTooLarge, RequestTimeout
from .spool import Spool


async def read_body(spool: Spool, request: RequestHead, receive: Receive, limits: Limits) -> None:
    """Reads the whole body into `spool`.

    Raises BodyTooLarge (from the declared length, before anything is read and `100 Continue` is sent), RequestTimeout,
    ClientDisconnect for an upload that was broken off, AtCapacity when it cannot be stored.
    """
    declared = request.values(b"content-length")
    if declared and declared[0].isdigit() and int(declared[0]) > limits.body:
        raise BodyTooLarge(f"the request body has {declared[0].decode()} bytes, more than limits.body ({limits.body})")
    if request.http_version.startswith("1.") and declared in ([], [b"0"]) and not request.values(b"transfer-encoding"):
        return
    try:
        async with asyncio.timeout(limits.body_time):
            await _spool(spool, receive, limits.body)
    except TimeoutError:
        what = f"the request body did not arrive within limits.body_time ({limits.body_time:g} s)"
        raise RequestTimeout(what) from None
    except OSError as error:
        raise AtCapacity(f"the request body cannot be spooled: {error.strerror}") from None


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
