"""The gateway of `run --raw`: what guests print is written as it is, whatever becomes of the response."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..cgi.request import RequestHead
from ..errors import ClientDisconnect
from ..gateway.delivery import Delivery
from ..gateway.exchange import Exchange
from ..gateway.gateway import Gateway
from ..gateway.generation import Generation
from ..http.reply import Reply
from ..http.spool import SpoolBudget
from ..sandbox.guest import Guest
from ..site.site import Endpoint, Site

Write = Callable[[bytes], object]


class RawGateway(Gateway):
    """Writes the standard output of every guest."""

    def __init__(self, site: Site, write: Write) -> None:
        super().__init__(site)
        self._write = write

    def exchange(self, generation: Generation, request: RequestHead, receive: Any, send: Any) -> Exchange:
        """The exchange that answers a request."""
        return _RawExchange(self._write, generation, request, receive, Reply(request, send))


class _RawExchange(Exchange):
    def __init__(self, write: Write, generation: Generation, request: RequestHead, receive: Any, reply: Reply) -> None:
        super().__init__(generation, request, receive, reply)
        self._write = write

    def _delivery(self, guest: Guest, endpoint: Endpoint) -> Delivery:
        budget, warn = self._generation.budget, self._record.warn
        return _RawDelivery(self._write, guest, endpoint, self._request, self._reply, budget, warn)


class _RawDelivery(Delivery):
    """Reads also the output that the response does not need, up to the guest's end or `limits.time`."""

    __slots__ = ("_write",)

    def __init__(
        self,
        write: Write,
        guest: Guest,
        endpoint: Endpoint,
        request: RequestHead,
        reply: Reply,
        budget: SpoolBudget,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(guest, endpoint, request, reply, budget, warn)
        self._write = write

    async def respond(self) -> bytes | None:
        """Sends the response, as `Delivery.respond`."""
        try:
            return await super().respond()
        finally:
            with suppress(ClientDisconnect):
                while await self._read():
                    pass

    async def _read(self) -> bytes:
        data = await super()._read()
        try:
            self._write(data)
        except OSError:  # a closed pipe
            raise ClientDisconnect from None
        return data
