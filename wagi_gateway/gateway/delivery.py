"""A guest's output on its way to the client: at once, as it comes, or when it is complete."""

from __future__ import annotations

from collections.abc import Callable

from ..cgi.request import RequestHead
from ..cgi.response import HeaderBlock, ResponseHead
from ..errors import AtCapacity, BadOutput, ClientDisconnect, GuestFailed, GuestTimeout
from ..http.reply import Reply
from ..http.spool import Spool, SpoolBudget
from ..sandbox.guest import Guest
from ..site.site import Endpoint


class Delivery:
    """Turns executions into one reply."""

    def __init__(self, request: RequestHead, reply: Reply, budget: SpoolBudget, warn: Callable[[str], None]) -> None:
        """`warn` notes what the client need not know and the operator should."""
        self._is_head = request.method == "HEAD"
        self._is_http_1_0 = request.http_version == "1.0"
        self._reply = reply
        self._budget = budget
        self._warn = warn

    async def respond(self, guest: Guest, endpoint: Endpoint) -> bytes | None:
        """Reads a guest's output and sends it on; a local redirect is returned instead.

        Raises RequestError before the response has begun, and ClientDisconnect.
        """
        head, body = await self._read_head(guest, endpoint)
        if head.local_redirect and endpoint.config.local_redirects == "internal":
            body = body or await guest.read()
            if not body:
                self._check_end(guest, endpoint)
                if failure := guest.failure():
                    self._warn(failure)
                return head.local_redirect
        if guest.is_complete:
            self._check_end(guest, endpoint)
            self._check_length(head, len(body))
            await self._reply.whole(head, body)
        elif self._is_bodiless(head) or self._is_http_1_0:
            await self._respond_at_end(guest, endpoint, head, body)
        else:
            await self._stream(guest, head, body)
        return None

    def _is_bodiless(self, head: ResponseHead) -> bool:
        return head.is_bodiless or self._is_head

    async def _read_head(self, guest: Guest, endpoint: Endpoint) -> tuple[ResponseHead, bytes]:
        block = HeaderBlock(endpoint.limits.header_block, front_end_headers=endpoint.config.front_end_headers)
        while data := await guest.read():
            if head := block.feed(data):
                return head, block.rest
        self._check_end(guest, endpoint)
        if guest.failure():
            raise GuestFailed(f"{guest.failure()} before its header block was complete")
        block.close()
        raise BadOutput("the output has no header block")

    async def _stream(self, guest: Guest, head: ResponseHead, body: bytes) -> None:
        """Sends what comes as it comes; a guest that fails on the way leaves a response that is visibly cut off."""
        await self._reply.start(head)
        if body:
            await self._reply.send(body)
        while body := await guest.read():
            await self._reply.send(body)
        if _is_good(guest):
            self._check_length(head, self._reply.size)
            await self._reply.end()

    async def _respond_at_end(self, guest: Guest, endpoint: Endpoint, head: ResponseHead, body: bytes) -> None:
        """Answers once the guest has ended: the body is not sent on, or the client (HTTP/1.0) knows no chunks."""
        is_bodiless = self._is_bodiless(head)
        with Spool(self._budget) as spool:
            if not is_bodiless:
                await spool.write(body)
            while body := await guest.read():
                if not is_bodiless:
                    await spool.write(body)
            self._check_end(guest, endpoint)
            if is_bodiless:
                await self._reply.whole(head, None)
                return
            self._check_length(head, spool.size)
            await self._reply.start(head, length=spool.size)
            async for piece in spool.chunks():
                await self._reply.send(piece)
            await self._reply.end()

    def _check_end(self, guest: Guest, endpoint: Endpoint) -> None:
        """Raises what the client is told of a guest that did not end well before its response began."""
        if _is_good(guest) and not (endpoint.config.strict_exit and guest.failure()):
            return
        match guest.stop_reason:
            case "disconnect":
                raise ClientDisconnect
            case "time":
                raise GuestTimeout(guest.failure())
            case "descriptors":
                raise AtCapacity(guest.failure())
            case "stdout":
                raise BadOutput(guest.failure())
            case "shutdown":
                raise AtCapacity(guest.failure())
        if guest.outcome and guest.outcome.kind == "starved":
            raise AtCapacity(guest.failure())
        raise GuestFailed(guest.failure())

    def _check_length(self, head: ResponseHead, length: int) -> None:
        """Notes a guest that counts wrong; the gateway's count is the one that is sent."""
        if head.content_length not in (None, b"%d" % length) and not self._is_bodiless(head):
            self._warn(f"the guest's Content-Length is {head.content_length!r}, its body has {length} bytes")


def _is_good(guest: Guest) -> bool:
    """Whether what the guest printed is its whole answer: an exit code other than 0 does not make it less so."""
    return guest.is_complete and guest.outcome is not None and guest.outcome.kind == "exit"
