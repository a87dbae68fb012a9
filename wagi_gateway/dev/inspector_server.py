"""The server of the inspector, on the event loop of the development server."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from uvicorn import Server

from ..server.listener import OPERATOR_TIMEOUT
from ..server.protocol import BoundedProtocol
from ..server.uvicorn_config import UvicornConfig
from .guard import InspectorGuard
from .inspector import Inspector

_MAX_CONNECTIONS = 64
"""Connections of browsers."""
_NAMES = ("127.0.0.1", "localhost", "[::1]")


class InspectorServer(Server):
    """Serves on the loop of another server, which handles the signals."""

    def __init__(self, inspector: Inspector, port: int, token: str) -> None:
        """Answers to the names of this host with `port`."""
        self._app = inspector.app([f"{name}:{port}" for name in _NAMES], token)
        super().__init__(_config(self._app))

    def code(self) -> str:
        """A new code, with which a page gets the token once."""
        return self._app.code()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Handles no signal."""
        return nullcontext()


def _config(app: InspectorGuard) -> UvicornConfig:
    return UvicornConfig(
        app,
        http=BoundedProtocol,
        head_time=OPERATOR_TIMEOUT,
        send_timeout=OPERATOR_TIMEOUT,
        keep_alive_requests=1000,
        max_connections=_MAX_CONNECTIONS,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=round(OPERATOR_TIMEOUT),
        timeout_graceful_shutdown=1,
    )
