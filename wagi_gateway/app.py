"""The Starlette application: health, the gateway, and what happens between start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from .configfile import ConfigFile, read_config
from .gateway import Gateway
from .sandbox import Sandbox
from .site import Site
from .startup import load

_TOUCH = 3600.0
"""Seconds after which modules in the store are used again, for `cache prune`."""


def create_app(config: str | Path | ConfigFile | Site) -> Starlette:
    """The application for a `modules.toml`, its contents, or a site that is loaded already; for any ASGI server.

    Raises StartupError with every problem there is.
    """
    if isinstance(config, (str, Path)):
        config = read_config(Path(config))
    site = load(config) if isinstance(config, ConfigFile) else config
    gateway = Gateway(site)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with closing(site):
            async with Sandbox(site.engine) as sandbox:
                gateway.sandbox = sandbox
                keeper = asyncio.create_task(_keep_modules(site))
                try:
                    yield
                finally:
                    keeper.cancel()
                    gateway.sandbox = None

    # ASGI applications rather than functions, so that they answer any method, as WAGI's health check does.
    routes = [Route("/healthz", PlainTextResponse("OK")), Route("/readyz", _Ready(gateway))]
    return _Application(gateway, routes, lifespan)


class _Application(Starlette):
    """Starlette for what is built in and for start and stop; every other request goes straight to the gateway, which
    has no use for middleware and would pay for it."""

    def __init__(self, gateway: Gateway, routes: Sequence[Route], lifespan: Lifespan[Starlette]) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._gateway = gateway
        self._built_in = frozenset(route.path for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._built_in and not scope.get("root_path"):
            await self._gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _keep_modules(site: Site) -> None:
    while True:
        await asyncio.sleep(_TOUCH)
        await asyncio.to_thread(site.touch)


class _Ready:
    """200 while every module is warm and guests can run, else 503."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ready = self._gateway.sandbox is not None
        response = PlainTextResponse("OK") if is_ready else PlainTextResponse("not ready", status_code=503)
        await response(scope, receive, send)
