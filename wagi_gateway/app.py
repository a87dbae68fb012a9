"""The ASGI application: the gateway, the built-in routes /healthz and /readyz, and the lifespan."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Sequence
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

_COUNT_INTERVAL = 0.1
"""Seconds between two updates of the metrics."""
_TOUCH_INTERVAL = 3600.0
"""Seconds between two updates of the times of last use in the store, which `cache prune` reads."""


def create_app(
    config: str | Path | ConfigFile | Site,
    read: Read | None = None,
    on_reload: OnReload = lambda _site, _error: None,
    metrics: WorkerMetrics | None = None,
    may_notice: Callable[[], bool] = lambda: True,
) -> Application:
    """Creates the application for a `modules.toml`, a configuration or a loaded site, for any ASGI server.

    `read` reads the configuration for a reload; by default it reads the same file. `on_reload` is called after each
    reload, with the new site or the error. Without `metrics` nothing is counted. `may_notice` allows a warning that
    is for one process of several to write. Raises StartupError with all problems.

        app = create_app("modules.toml")
    """
    if isinstance(config, (str, Path)):
        config = read_config(Path(config))
    if isinstance(config, ConfigFile):
        read = read or functools.partial(read_config, config.path, None, config.settings)
        config = load(config)
    return application(Gateway(config, metrics, may_notice), read or _cannot_read, on_reload, metrics)


def _cannot_read() -> ConfigFile:
    raise StartupError(Problem("", "the application was made of a site, so that there is no file to read anew"))


def application(
    gateway: Gateway,
    read: Read = _cannot_read,
    on_reload: OnReload = lambda _site, _error: None,
    metrics: WorkerMetrics | None = None,
) -> Application:
    """The application of a gateway; the arguments are those of `create_app`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with gateway:
            touching = asyncio.create_task(_touch_modules(gateway))
            counting = asyncio.create_task(_count(gateway, metrics)) if metrics else None
            try:
                yield
            finally:
                if counting:
                    counting.cancel()
                touching.cancel()
        if metrics:
            gateway.count(metrics)  # the guests that the shutdown stopped

    # ASGI applications rather than functions: Route lets those answer every method, as WAGI's health check does.
    routes = [Route("/healthz", PlainTextResponse("OK")), Route("/readyz", _Readiness(gateway))]
    return Application(gateway, routes, lifespan, Reloader(gateway, read, on_reload))


class Application(Starlette):
    """Starlette for the built-in routes and the lifespan; other requests go to the gateway, past all middleware."""

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
        """The server's certificate, with `server.tls_cert`."""
        return self._gateway.certificate

    @property
    def metrics(self) -> WorkerMetrics | None:
        """The metrics of this process, if it has any."""
        return self._gateway.generation.metrics

    @property
    def site(self) -> Site:
        """The site that new requests are served from. A reference that outlives a reload keeps the engine in memory."""
        return self._gateway.site

    async def serve_config(self, file: ConfigFile) -> None:
        """Loads and serves this configuration, which a worker receives from its supervisor. Called on the loop that
        serves. Raises StartupError, LoadCancelled, and then nothing has changed."""
        await self._reloader.take(lambda: file)

    def cancel_reload(self) -> None:
        """Ends a compilation under way, and with it the load of its site. Called at the beginning of the shutdown."""
        self._reloader.cancel()

    async def reload(self) -> ReloadResult:
        """Reads the configuration anew and serves it. Called on the loop that serves.

        Raises StartupError if it is broken, and then nothing has changed.
        """
        return await self._reloader.reload()


async def _touch_modules(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(_TOUCH_INTERVAL)
        await asyncio.to_thread(gateway.site.touch)


async def _count(gateway: Gateway, metrics: WorkerMetrics) -> None:
    metrics.set_ready(True)
    try:
        while True:
            gateway.count(metrics)
            await asyncio.sleep(_COUNT_INTERVAL)
    finally:
        metrics.set_ready(False)


class _Readiness:
    """Readiness endpoint: 200 while all modules are warm and guests can run, else 503."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ready = self._gateway.sandbox is not None
        response = PlainTextResponse("OK") if is_ready else PlainTextResponse("not ready", status_code=503)
        await response(scope, receive, send)
