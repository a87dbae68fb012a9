"""A response on its way to the client, framed by the gateway alone."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

from .cgi.environ import RequestHead
from .cgi.response import ResponseHead
from .errors import RequestError

_NO_LENGTH = frozenset((204, 304))


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

    async def whole(self, head: ResponseHead, body: bytes | None) -> None:
        """A complete response; without a body (None) there is no Content-Length but the one the status asks for."""
        if head.status in _NO_LENGTH:
            await self.start(head)
        elif head.status == 205:  # RFC 9110 section 15.3.6
            await self.start(head, length=0)
        elif body is None:
            await self.start(head)
        else:
            await self.start(head, length=len(body))
        await self.send(b"" if body is None or head.status in (204, 205, 304) else body, is_last=True)

    async def start(self, head: ResponseHead, length: int | None = None) -> None:
        """Status and header fields; without a `length` the server frames the body."""
        framing = [] if length is None else [(b"content-length", b"%d" % length)]
        self.is_started = True
        self.status = head.status
        headers = [*head.headers, *framing, self._request_id]
        await self._pass({"type": "http.response.start", "status": head.status, "headers": headers})

    async def send(self, body: bytes, *, is_last: bool = False) -> None:
        """A piece of the body."""
        if not self._is_head:
            self.size += len(body)
        self.is_ended = self.is_ended or is_last
        await self._pass({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def end(self) -> None:
        """The body is complete."""
        await self.send(b"", is_last=True)

    async def _pass(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            raise ClientDisconnect from None
        except RuntimeError as error:  # uvloop's word for a connection that was lost a moment ago
            if "closed" not in str(error):
                raise
            raise ClientDisconnect from None

    async def fail(self, error: RequestError) -> None:
        """The response to a request that its module does not answer: short, and silent about the inside."""
        body = f"{error.public}\n".encode() if error.public else b""
        content_type = ((b"content-type", b"text/plain; charset=utf-8"),) if body else ()
        await self.whole(ResponseHead(error.status, (*content_type, *error.headers), None), body)
