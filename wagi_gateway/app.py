"""The Starlette application: health, the gateway, and what happens between start and stop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from .config.file import ConfigFile, read_config
from .errors import Problem, StartupError
from .gateway.gateway import Gateway
from .gateway.reload import OnReload, Read, Reloader, ReloadResult
from .observe.worker_metrics import WorkerMetrics
from .site.load import load
from .site.site import Site
from .tls import Certificate

_COUNT = 0.1
"""Seconds after which what has happened is counted, and what is under way is shown."""
_TOUCH = 3600.0
"""Seconds after which modules in the store are used again, for `cache prune`."""


def create_app(
    config: str | Path | ConfigFile | Site,
    read: Read | None = None,
    on_reload: OnReload = lambda _site, _error: None,
    metrics: WorkerMetrics | None = None,
) -> Application:
    """The application for a `modules.toml`, its contents, or a site that is loaded already; for any ASGI server.

    `read` reads the configuration for a reload, where that is more than to read the same file, and `on_reload` is told
    what came of it. Raises StartupError with every problem there is.
    """
    if isinstance(config, (str, Path)):
        config = read_config(Path(config))
    if isinstance(config, ConfigFile):
        read = read or functools.partial(read_config, config.path, None, config.settings)
        config = load(config)
    gateway = Gateway(config, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with gateway:
            keeper = asyncio.create_task(_keep_modules(gateway))
            counter = asyncio.create_task(_count(gateway, metrics)) if metrics else None
            try:
                yield
            finally:
                if counter:
                    counter.cancel()
                keeper.cancel()
        if metrics:
            gateway.count(metrics)  # guests that were stopped

    # ASGI applications rather than functions, so that they answer any method, as WAGI's health check does.
    routes = [Route("/healthz", PlainTextResponse("OK")), Route("/readyz", _Ready(gateway))]
    return Application(gateway, routes, lifespan, Reloader(gateway, read or _nothing_to_read, on_reload))


def _nothing_to_read() -> ConfigFile:
    raise StartupError(Problem("", "the application was made of a site, so that there is no file to read anew"))


class Application(Starlette):
    """Starlette for what is built in and for start and stop; every other request goes straight to the gateway, which
    has no use for middleware and would pay for it."""

    def __init__(
        self,
        gateway: Gateway,
        routes: Sequence[Route],
        lifespan: Lifespan[Starlette],
        reloader: Reloader,
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._gateway = gateway
        self._reloader = reloader
        self._built_in = frozenset(route.path for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._built_in and not scope.get("root_path"):
            await self._gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    @property
    def certificate(self) -> Certificate | None:
        """What a server that speaks TLS itself shows its clients."""
        return self._gateway.certificate

    @property
    def metrics(self) -> WorkerMetrics | None:
        """What is counted, if anything is."""
        return self._gateway.generation.metrics

    @property
    def site(self) -> Site:
        """What is served now."""
        return self._gateway.site

    async def take(self, file: ConfigFile) -> None:
        """Serves this configuration, on the loop that it serves on; for a worker, which is told by its supervisor.

        Raises StartupError, and then nothing has changed.
        """
        await self._reloader.take(lambda: file)

    async def reload(self) -> ReloadResult:
        """Reads the configuration anew and serves that, on the loop that it serves on.

        Raises StartupError if it is broken, and then nothing has changed.
        """
        return await self._reloader.reload()


async def _keep_modules(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(_TOUCH)
        await asyncio.to_thread(gateway.site.touch)


async def _count(gateway: Gateway, metrics: WorkerMetrics) -> None:
    metrics.set_ready(True)
    try:
        while True:
            gateway.count(metrics)
            await asyncio.sleep(_COUNT)
    finally:
        metrics.set_ready(False)


class _Ready:
    """200 while every module is warm and guests can run, else 503."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ready = self._gateway.sandbox is not None
        response = PlainTextResponse("OK") if is_ready else PlainTextResponse("not ready", status_code=503)
        await response(scope, receive, send)
