"""The generation of a site: the live state that its requests share, from one reload until the last request is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..config.settings import ModuleConfig
from ..http.spool import SpoolBudget
from ..observe.worker_metrics import WorkerMetrics
from ..sandbox.sandbox import Sandbox
from ..site.site import Site
from .admission import ModuleLimit, WorkerLimit

if TYPE_CHECKING:
    from ..observe.spans import Tracer


class _LimitKey(NamedTuple):
    """The settings that must be equal for a `[[module]]` to keep its ModuleLimit after a reload."""

    route: str
    concurrency: int
    queue: int
    queue_time: float

    @classmethod
    def of(cls, module: ModuleConfig) -> _LimitKey:
        limits = module.limits
        return cls(module.route, limits.concurrency, limits.queue, limits.queue_time)


class Generation:
    """A site with its limits, budget and sandbox. Belongs to the event loop."""

    def __init__(self, site: Site, metrics: WorkerMetrics | None = None) -> None:
        """The first generation of a process. Without `metrics` nothing is counted."""
        server = site.config.server
        self.site = site
        self.trusted_proxies = server.trusted_proxies
        self.metrics = metrics
        self.tracer: Tracer | None = None
        """Begins spans; set while the gateway is started, if traces are exported."""
        self.sandbox: Sandbox | None = None
        """Runs guests; set while the gateway is started."""
        self.budget = SpoolBudget(server.spool, server.body_memory)
        self.worker_limit = WorkerLimit(server.concurrency)
        self.module_limits = _module_limits(site, self.worker_limit, {})
        """One for each `[[module]]`, in order."""
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        if metrics:
            metrics.count_loads(site.loads)
            for module in site.config.module:  # every series exists before its first request
                metrics.route(module.route)

    @classmethod
    def after(cls, before: Generation, site: Site, sandbox: Sandbox) -> Generation:
        """The generation of a reload. Limits and budget with unchanged settings are shared with `before`, so that they
        hold for the requests of both generations together."""
        new = cls(site, before.metrics)
        new.tracer = before.tracer
        new.sandbox = sandbox
        old, server = before.site.config.server, site.config.server
        if (old.spool, old.body_memory) == (server.spool, server.body_memory):
            new.budget = before.budget
        if old.concurrency == server.concurrency:
            new.worker_limit = before.worker_limit
            kept = dict(zip(map(_LimitKey.of, before.site.config.module), before.module_limits, strict=True))
            new.module_limits = _module_limits(site, new.worker_limit, kept)
        return new

    @property
    def users(self) -> int:
        """Requests that are not over."""
        return self._users

    def enter(self) -> None:
        """Counts a request that begins."""
        self._users += 1

    def leave(self) -> None:
        """Counts a request that is over: its response is sent and its guests have ended."""
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def over(self) -> None:
        """Waits until every request is over. No new request enters a replaced generation."""
        while self._users:
            self._unused.clear()
            await self._unused.wait()


def _module_limits(site: Site, worker_limit: WorkerLimit, kept: Mapping[_LimitKey, ModuleLimit]) -> list[ModuleLimit]:
    keys = map(_LimitKey.of, site.config.module)
    return [kept.get(key) or ModuleLimit(worker_limit, key.concurrency, key.queue, key.queue_time) for key in keys]
