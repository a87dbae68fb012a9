"""The response of one request as ASGI messages, framed by the gateway alone (RFC 9112 section 6)."""

from __future__ import annotations

import re
from typing import NoReturn

from starlette.types import Message, Send

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..errors import ClientDisconnect, RequestError

_LENGTH = re.compile(rb"\d{1,15}")

_CLOSE = (b"connection", b"close")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class Reply:
    """Sends one response, and counts what was sent. Every method raises ClientDisconnect on a lost connection."""

    def __init__(self, request: RequestHead, send: Send) -> None:
        self.status = 0
        self.size = 0
        """Bytes of the body that were passed to the ASGI server."""
        self.is_started = False
        self.is_ended = False
        self._send = send
        self._is_head = request.method == "HEAD"
        self._request_id = request.request_id.encode()

    async def whole(self, head: ResponseHead, body: bytes | None, *, is_last: bool = True) -> None:
        """Sends a complete response. `body` is None for a body that is not sent and has an unknown length.

        Without `is_last` the caller ends the response later with `end`.
        """
        start = self._start(head, self._length(head, body))
        rest = self._body(b"" if head.is_bodiless else body or b"", is_last=is_last)
        try:
            await self._send(start)
            await self._send(rest)
        except (OSError, RuntimeError) as error:
            _raise_disconnect(error)

    def _length(self, head: ResponseHead, body: bytes | None) -> int | None:
        """The Content-Length of a complete response (RFC 9110 sections 8.6 and 15.3.6)."""
        if head.is_bodiless:
            return 0 if head.status == 205 else None
        if self._is_head and not body:  # the guest's own field may tell the length of a GET's response
            own = head.content_length or b""
            return int(own) if _LENGTH.fullmatch(own) else None
        return None if body is None else len(body)

    async def start(self, head: ResponseHead, length: int | None = None) -> None:
        """Sends status and header fields. Without a `length` the ASGI server chooses the framing."""
        await self._send_one(self._start(head, length))

    async def send(self, body: bytes) -> None:
        """Sends a piece of the body, or nothing in reply to a HEAD (RFC 9110 section 9.3.2)."""
        await self._send_one(self._body(body, is_last=False))

    async def end(self) -> None:
        """Ends the body."""
        await self._send_one(self._body(b"", is_last=True))

    def _start(self, head: ResponseHead, length: int | None) -> Message:
        self.is_started = True
        self.status = head.status
        own = (b"x-request-id", self._request_id)
        headers = head.headers + ((own,) if length is None else ((b"content-length", b"%d" % length), own))
        return {"type": "http.response.start", "status": head.status, "headers": headers}

    def _body(self, body: bytes, *, is_last: bool) -> Message:
        body = b"" if self._is_head else body
        self.size += len(body)
        self.is_ended = self.is_ended or is_last
        return {"type": "http.response.body", "body": body, "more_body": not is_last}

    async def _send_one(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:
            _raise_disconnect(error)

    async def send_error(self, error: RequestError, *, close: bool = False, is_last: bool = True) -> None:
        """Sends the error response: the status and `public` text of `error` and the request id alone, and
        `Connection: close` if asked."""
        body = b"%s\nRequest id: %s\n" % (error.public.encode(), self._request_id)
        connection = (_CLOSE,) if close and _CLOSE not in error.headers else ()
        head = ResponseHead(error.status, (_TEXT, *error.headers, *connection), None)
        await self.whole(head, body, is_last=is_last)


def _raise_disconnect(error: OSError | RuntimeError) -> NoReturn:
    """Raises ClientDisconnect for an error of a lost connection."""
    # uvloop raises RuntimeError for a connection that was just lost.
    if isinstance(error, RuntimeError) and "closed" not in str(error):
        raise error
    raise ClientDisconnect from None
