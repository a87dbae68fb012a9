"""A response on its way to the client, framed by the gateway alone."""

from __future__ import annotations

import re

from starlette.types import Message, Send

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..errors import ClientDisconnect, RequestError

_LENGTH = re.compile(rb"\d{1,15}")


class Reply:
    """Sends one response as ASGI messages and remembers what was sent.

    Every method raises ClientDisconnect when the connection turns out to be gone.
    """

    def __init__(self, request: RequestHead, send: Send) -> None:
        self.status = 0
        self.size = 0
        """Bytes of body handed to the server."""
        self.is_started = False
        self.is_ended = False
        self._send = send
        self._is_head = request.method == "HEAD"
        self._request_id = (b"x-request-id", request.request_id.encode())

    async def whole(self, head: ResponseHead, body: bytes | None, *, is_last: bool = True) -> None:
        """A complete response; a body of None is one that is not sent and whose length nobody knows.

        Unless it `is_last`, the server is told later that there is no more.
        """
        start = self._start(head, self._length(head, body))
        await self._pass(start, self._body(b"" if head.is_bodiless else body or b"", is_last=is_last))

    def _length(self, head: ResponseHead, body: bytes | None) -> int | None:
        """The Content-Length of a complete response (RFC 9110 sections 8.6 and 15.3.6)."""
        if head.is_bodiless:
            return 0 if head.status == 205 else None
        if self._is_head and not body:  # the guest may know what a GET would have brought
            own = head.content_length or b""
            return int(own) if _LENGTH.fullmatch(own) else None
        return None if body is None else len(body)

    async def start(self, head: ResponseHead, length: int | None = None) -> None:
        """Status and header fields; without a `length` the server frames the body."""
        await self._pass(self._start(head, length))

    async def send(self, body: bytes) -> None:
        """A piece of the body; to a HEAD it is not sent (RFC 9110 section 9.3.2)."""
        await self._pass(self._body(body, is_last=False))

    async def end(self) -> None:
        """The body is complete."""
        await self._pass(self._body(b"", is_last=True))

    def _start(self, head: ResponseHead, length: int | None) -> Message:
        framing = () if length is None else ((b"content-length", b"%d" % length),)
        self.is_started = True
        self.status = head.status
        headers = (*head.headers, *framing, self._request_id)
        return {"type": "http.response.start", "status": head.status, "headers": headers}

    def _body(self, body: bytes, *, is_last: bool) -> Message:
        body = b"" if self._is_head else body
        self.size += len(body)
        self.is_ended = self.is_ended or is_last
        return {"type": "http.response.body", "body": body, "more_body": not is_last}

    async def _pass(self, *messages: Message) -> None:
        try:
            for message in messages:
                await self._send(message)
        except (OSError, RuntimeError) as error:
            # The second is uvloop's word for a connection that was lost a moment ago.
            if isinstance(error, RuntimeError) and "closed" not in str(error):
                raise
            raise ClientDisconnect from None

    async def fail(self, error: RequestError, *, close: bool = False, is_last: bool = True) -> None:
        """The response to a request that its module does not answer: short, and silent about the inside."""
        body = f"{error.public}\n".encode() if error.public else b""
        content_type = ((b"content-type", b"text/plain; charset=utf-8"),) if body else ()
        connection = ((b"connection", b"close"),) if close else ()
        head = ResponseHead(error.status, (*content_type, *error.headers, *connection), None)
        await self.whole(head, body, is_last=is_last)
