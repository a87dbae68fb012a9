"""uvicorn's configuration, with the settings of `[server]` for which uvicorn has no option."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Protocol

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ..cgi.environ import SERVER_SOFTWARE
from ..config.settings import ServerConfig
from .listener import BACKLOG

logger = logging.getLogger("wagi_gateway")

_HEALTHCHECK_TIMEOUT = 15
"""Seconds a worker has to answer a healthcheck of its supervisor; a worker that starts on a busy machine needs some."""
_WARNING_INTERVAL = 60.0
"""Seconds between two warnings that there are too many connections."""
_TOO_MANY = PlainTextResponse(
    "Service Unavailable: too many connections\n", 503, {"connection": "close", "retry-after": "1"}
)


class IdleConnection(Protocol):
    """A connection between two requests."""

    def close_if_idle(self) -> None:
        """Closes the connection, unless a request has begun or the client has yet to receive the last response."""


class UvicornConfig(uvicorn.Config):
    """Settings and counters that all connections of one server share; durations in seconds."""

    def __init__(
        self,
        *arguments: Any,
        head_time: float,
        send_timeout: float,
        keep_alive_requests: int,
        max_connections: float = math.inf,
        is_secure: bool = False,
        **keywords: Any,
    ) -> None:
        """`arguments` and `keywords` are those of `uvicorn.Config`; `is_secure` says whether the server speaks TLS."""
        super().__init__(*arguments, **keywords)
        self.head_time = head_time
        self.send_timeout = send_timeout
        self.keep_alive_requests = keep_alive_requests
        self.max_connections = max_connections
        self.is_secure = is_secure
        self.admitted = 0
        """Open connections that have sent a request."""
        self.idle: dict[IdleConnection, None] = {}
        """Admitted connections between two requests, the one that is idle for longest first."""
        self.refused = 0
        """Connections that were answered with 503 because of `max_connections`."""
        self._next_warning = 0.0

    def update(self, settings: ServerConfig) -> None:
        """Applies the settings that a reload can change: new connections, and the shutdown, read them."""
        for name, value in _reloadable(settings).items():
            setattr(self, name, value)

    def close_longest_idle(self) -> None:
        """Closes the first connection of `idle`, as a server may at any time (RFC 9112 section 9.5)."""
        connection = next(iter(self.idle))
        del self.idle[connection]
        connection.close_if_idle()

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application of a connection beyond `max_connections`, none of which is idle: a 503 that closes it."""
        self.refused += 1
        if time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _WARNING_INTERVAL
            what = "server.max_connections = %s: new connections get 503; raise it, or find out who holds the others"
            logger.warning(what, self.max_connections)
        await _TOO_MANY(scope, receive, send)


def worker_config(settings: ServerConfig) -> UvicornConfig:
    """The configuration of a worker, without the application: the worker creates its own."""
    return UvicornConfig(
        "",
        send_timeout=settings.send_timeout,
        is_secure=settings.tls_cert is not None,
        factory=True,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", SERVER_SOFTWARE.decode())],
        timeout_worker_healthcheck=_HEALTHCHECK_TIMEOUT,
        **_reloadable(settings),
    )


def _reloadable(settings: ServerConfig) -> dict[str, Any]:
    return {
        "head_time": settings.head_time,
        "keep_alive_requests": settings.keep_alive_requests,
        "max_connections": settings.max_connections,
        "timeout_keep_alive": round(settings.keep_alive),
        "timeout_graceful_shutdown": round(settings.shutdown_grace),
    }
