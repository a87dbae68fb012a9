"""A site that is served: what its requests are answered with, until the last of them is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..config.settings import ModuleConfig
from ..http.spool import SpoolRoom
from ..observe.worker_metrics import Tally
from ..sandbox import Gate, Places, Sandbox
from ..site.site import Site

if TYPE_CHECKING:
    from ..observe.spans import Tracer

_Name = tuple[str, int, int, float]


class Generation:
    """One site between two reloads. What is the same in the one before is taken over from it, so that a limit holds for
    the requests of both together."""

    def __init__(self, site: Site, before: Generation | None = None, tally: Tally | None = None) -> None:
        """Without a `tally`, nor one of the generation before, nothing is counted."""
        self.site = site
        self.tally: Tally | None = tally or (before.tally if before else None)
        if self.tally:
            self.tally.count_loads(site.loads)
            for module in site.config.module:  # so that there is something to see before the first request
                self.tally.route(module.route)
        self.tracer: Tracer | None = before.tracer if before else None
        """What makes spans; set while the server is up, if there are to be any."""
        self.sandbox: Sandbox | None = None
        """Where guests run; set while the server is up."""
        server = site.config.server
        old = before.site.config.server if before else None
        if before and old and (old.spool, old.body_memory) == (server.spool, server.body_memory):
            self.room: SpoolRoom = before.room
        else:
            self.room = SpoolRoom(server.spool, server.body_memory)
        kept: dict[_Name, Gate] = {}
        if before and old and old.concurrency == server.concurrency:
            self.places: Places = before.places
            kept = before._by_name()
        else:
            self.places = Places(server.concurrency)
        self.gates = [kept.get(_name(module)) or self._gate(module) for module in site.config.module]
        """One for each `[[module]]`."""
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def users(self) -> int:
        """Requests that are not over."""
        return self._users

    def enter(self) -> None:
        """A request begins."""
        self._users += 1

    def leave(self) -> None:
        """A request is over, and its guests have ended."""
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def over(self) -> None:
        """Waits until no request uses it. None begins to any more."""
        while self._users:
            self._unused.clear()
            await self._unused.wait()

    def _by_name(self) -> dict[_Name, Gate]:
        return dict(zip(map(_name, self.site.config.module), self.gates, strict=True))

    def _gate(self, module: ModuleConfig) -> Gate:
        limits = module.limits
        return Gate(self.places, limits.concurrency, limits.queue, limits.queue_time)


def _name(module: ModuleConfig) -> _Name:
    """What has to be the same for a `[[module]]` to keep its gate."""
    return module.route, module.limits.concurrency, module.limits.queue, module.limits.queue_time
