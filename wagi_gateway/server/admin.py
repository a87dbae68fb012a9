"""The admin listener: metrics, status, readiness and reload, served on a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config.values import is_local
from ..errors import StartupError
from ..gateway.reload import ReloadResult, in_thread
from ..observe.exposition import exposition
from ..observe.process_registry import ProcessRegistry
from ..observe.status import status
from .listener import OPERATOR_TIMEOUT
from .protocol import BoundedProtocol
from .quiet_server import QuietServer
from .uvicorn_config import UvicornConfig

Reload = Callable[[], ReloadResult]
"""Reads the configuration anew, and returns once it is served. Raises StartupError, and then nothing has changed."""

_INDEX = """\
wagi-gateway

GET  /metrics   what was counted, for Prometheus
GET  /status    what runs, as JSON
GET  /readyz    200 when every worker serves and every module is warm
GET  /healthz   200
POST /reload    serve what the configuration says now
"""
_MAX_CONNECTIONS = 32


class AdminListener:
    """Serves the admin endpoints while its `with` statement lasts."""

    def __init__(self, listener: socket.socket, registry: ProcessRegistry, reload: Reload | None = None) -> None:
        """`reload` is called on a thread of its own for each request; without it, POST /reload answers 501."""
        self.registry = registry
        self.reload = reload
        self._listener = listener
        config = UvicornConfig(
            self.app,
            http=BoundedProtocol,
            head_time=OPERATOR_TIMEOUT,
            is_secure=False,
            send_timeout=OPERATOR_TIMEOUT,
            keep_alive_requests=1000,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=round(OPERATOR_TIMEOUT),
            timeout_graceful_shutdown=1,
        )
        self._server = QuietServer(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="admin", daemon=True)

    def __enter__(self) -> AdminListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def app(self) -> ASGIApp:
        """The Starlette application, behind the checks of `_BrowserGuard`."""
        routes = [
            Route("/", _text(_INDEX)),
            Route("/healthz", _text("OK")),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/status", self._status),
            Route("/reload", self._reload, methods=["POST"]),
        ]
        is_loopback = self._listener.family != socket.AF_UNIX and is_local(self._listener.getsockname()[0])
        return _BrowserGuard(Starlette(routes=routes), is_loopback=is_loopback)

    async def _readyz(self, _: Request) -> Response:
        reason = self.registry.unready()
        return PlainTextResponse("OK") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    async def _metrics(self, request: Request) -> Response:
        body, content_type = exposition(self.registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def _status(self, _: Request) -> Response:
        return _json(status(self.registry))

    async def _reload(self, _: Request) -> Response:
        if self.reload is None:
            raise HTTPException(501, "there is nothing to reload from")
        try:
            result = await asyncio.wrap_future(in_thread(self.reload))
        except StartupError as error:
            problems = [str(problem) for problem in error.problems]
            return _json({"ok": False, "problems": problems, "warnings": list(map(str, error.warnings))}, 409)
        warnings = list(map(str, result.warnings))
        return _json({"ok": True, "routes": result.routes, "seconds": round(result.seconds, 3), "warnings": warnings})


class _BrowserGuard:
    """Refuses requests that web pages make through a browser on this machine: cross-site requests, and requests for
    a foreign host name that resolves to a loopback address (DNS rebinding)."""

    def __init__(self, app: ASGIApp, *, is_loopback: bool) -> None:
        self._app = app
        self._is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        host = request.headers.get("host", "")
        name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
        if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            await PlainTextResponse("this is not for web pages\n", 403)(scope, receive, send)
        elif self._is_loopback and name and not is_local(name):
            await PlainTextResponse("this is not my name\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _text(text: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return PlainTextResponse(text)

    return answer


def _json(document: dict[str, object], status_code: int = 200) -> Response:
    return Response(json.dumps(document, indent=2) + "\n", status_code, media_type="application/json")
