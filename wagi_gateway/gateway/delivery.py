"""The delivery of a guest's output to the client: whole, streamed, or spooled until the guest has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..cgi.request import RequestHead
from ..cgi.response import HeaderBlock, ResponseHead
from ..errors import AtCapacity, BadOutput, ClientDisconnect, GuestFailed, GuestTimeout, RequestError, counted
from ..http.reply import Reply
from ..http.spool import Spool, SpoolBudget
from ..sandbox.guest import Guest
from ..site.site import Endpoint


class Delivery:
    """Reads one guest's standard output and sends it as the response."""

    __slots__ = ("_budget", "_endpoint", "_guest", "_is_head", "_is_http_1_0", "_reply", "_warn")

    def __init__(
        self,
        guest: Guest,
        endpoint: Endpoint,
        request: RequestHead,
        reply: Reply,
        budget: SpoolBudget,
        warn: Callable[[str], None],
    ) -> None:
        """`warn` logs faults of the guest that do not change the response."""
        self._guest = guest
        self._endpoint = endpoint
        self._reply = reply
        self._budget = budget
        self._warn = warn
        self._is_head = request.method == "HEAD"
        self._is_http_1_0 = request.http_version == "1.0"

    async def respond(self) -> bytes | None:
        """Sends the response. Returns the target of a local redirect, for which nothing is sent.

        Raises RequestError before the response has begun, and ClientDisconnect.
        """
        guest = self._guest
        head, body = await self._read_head()
        if head.local_redirect and self._endpoint.config.local_redirects == "internal":
            body = body or await self._read()
            if not body:
                self._raise_if_ended_badly()
                if failure := guest.failure():
                    self._warn(failure)
                return head.local_redirect
        if guest.is_complete:
            self._raise_if_ended_badly()
            self._check_length(head, len(body))
            await self._reply.whole(head, body)
        elif self._is_bodiless(head) or self._is_http_1_0:
            await self._respond_at_end(head, body)
        else:
            await self._stream(head, body)
        return None

    def _read(self) -> Awaitable[bytes]:
        """The next piece of standard output, as `Guest.read`; a subclass may see it."""
        return self._guest.read()

    def _is_bodiless(self, head: ResponseHead) -> bool:
        return head.is_bodiless or self._is_head

    async def _read_head(self) -> tuple[ResponseHead, bytes]:
        """The response head, and the part of the body that was read with it."""
        endpoint, guest = self._endpoint, self._guest
        block = HeaderBlock(endpoint.limits.header_block, endpoint.config.front_end_headers)
        while data := await self._read():
            if head := block.feed(data):
                return head, block.rest
        try:
            self._raise_if_ended_badly()
            if guest.failure():
                raise GuestFailed(f"{guest.failure()} before its header block was complete")
        except RequestError as error:
            error.output = block.incomplete
            raise
        block.close()
        raise BadOutput("the output has no header block")

    async def _stream(self, head: ResponseHead, body: bytes) -> None:
        """Sends output as the guest writes it.

        If the guest fails, the body's end is not sent, so the client sees a cut-off response.
        """
        await self._reply.start(head)
        if body:
            await self._reply.send(body)
        while body := await self._read():
            await self._reply.send(body)
        if _has_exited_with_all_output(self._guest):
            self._check_length(head, self._reply.size)
            await self._reply.end()

    async def _respond_at_end(self, head: ResponseHead, body: bytes) -> None:
        """Sends the response after the guest has ended: without a body, or with Content-Length, because HTTP/1.0 has
        no chunked coding."""
        is_bodiless = self._is_bodiless(head)
        with Spool(self._budget) as spool:
            if not is_bodiless:
                await spool.write(body)
            while body := await self._read():
                if not is_bodiless:
                    await spool.write(body)
            self._raise_if_ended_badly()
            if is_bodiless:
                await self._reply.whole(head, None)
                return
            self._check_length(head, spool.size)
            await self._reply.start(head, length=spool.size)
            async for piece in spool.chunks():
                await self._reply.send(piece)
            await self._reply.end()

    def _raise_if_ended_badly(self) -> None:
        """Before a response begins: raises the error to send if the guest ended badly."""
        guest = self._guest
        if _has_exited_with_all_output(guest) and not (self._endpoint.config.strict_exit and guest.failure()):
            return
        match guest.stop_reason:
            case "disconnect":
                raise ClientDisconnect
            case "time":
                raise GuestTimeout(guest.failure())
            case "descriptors":
                raise AtCapacity(guest.failure())
            case "stdout" | "temporary":
                raise BadOutput(guest.failure())
            case "shutdown":
                raise AtCapacity(guest.failure())
        if guest.outcome and guest.outcome.kind == "starved":
            raise AtCapacity(guest.failure())
        raise GuestFailed(guest.failure())

    def _check_length(self, head: ResponseHead, length: int) -> None:
        """Warns of a Content-Length that differs from the body's length; the gateway sends its own count."""
        own = head.content_length
        if own is not None and own != b"%d" % length and not self._is_bodiless(head):
            body = counted(length, "byte")
            self._warn(f"the guest's Content-Length is {own!r}, its body has {body}")


def _has_exited_with_all_output(guest: Guest) -> bool:
    """Whether the guest exited, with any code, or closed its standard output, and all of its output was read: the
    output is a complete response."""
    has_ended = guest.outcome is not None and guest.outcome.kind == "exit"
    return guest.is_complete and (has_ended or guest.has_closed_stdout)
