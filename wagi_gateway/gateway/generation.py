"""A site that is served: what its requests are answered with, until the last of them is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..config.settings import ModuleConfig
from ..http.spool import SpoolBudget
from ..observe.worker_metrics import WorkerMetrics
from ..sandbox.sandbox import Sandbox
from ..site.site import Site
from .admission import ModuleLimit, WorkerLimit

if TYPE_CHECKING:
    from ..observe.spans import Tracer

_Name = tuple[str, int, int, float]


class Generation:
    """One site between two reloads. What is the same in the one before is taken over from it, so that a limit holds for
    the requests of both together."""

    def __init__(self, site: Site, before: Generation | None = None, metrics: WorkerMetrics | None = None) -> None:
        """Without a `metrics`, nor one of the generation before, nothing is counted."""
        self.site = site
        self.metrics: WorkerMetrics | None = metrics or (before.metrics if before else None)
        if self.metrics:
            self.metrics.count_loads(site.loads)
            for module in site.config.module:  # so that there is something to see before the first request
                self.metrics.route(module.route)
        self.tracer: Tracer | None = before.tracer if before else None
        """What makes spans; set while the server is up, if there are to be any."""
        self.sandbox: Sandbox | None = None
        """Where guests run; set while the server is up."""
        server = site.config.server
        old = before.site.config.server if before else None
        if before and old and (old.spool, old.body_memory) == (server.spool, server.body_memory):
            self.budget: SpoolBudget = before.budget
        else:
            self.budget = SpoolBudget(server.spool, server.body_memory)
        kept: dict[_Name, ModuleLimit] = {}
        if before and old and old.concurrency == server.concurrency:
            self.worker_limit: WorkerLimit = before.worker_limit
            kept = before._by_name()
        else:
            self.worker_limit = WorkerLimit(server.concurrency)
        self.module_limits = [kept.get(_name(module)) or self._module_limit(module) for module in site.config.module]
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

    def _by_name(self) -> dict[_Name, ModuleLimit]:
        return dict(zip(map(_name, self.site.config.module), self.module_limits, strict=True))

    def _module_limit(self, module: ModuleConfig) -> ModuleLimit:
        limits = module.limits
        return ModuleLimit(self.worker_limit, limits.concurrency, limits.queue, limits.queue_time)


def _name(module: ModuleConfig) -> _Name:
    """What has to be the same for a `[[module]]` to keep its gate."""
    return module.route, module.limits.concurrency, module.limits.queue, module.limits.queue_time
