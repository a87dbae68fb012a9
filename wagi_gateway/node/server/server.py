"""The server of the node's API, on the event loop of the node."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from starlette.types import ASGIApp
from uvicorn import Server

from ...server.acceptor import Acceptor
from ...server.listener import listening_on
from ...server.uvicorn_config import UvicornConfig
from .protocol import NodeProtocol, NodeWebSocketProtocol

HEAD_TIME = 10.0
"""Seconds for a TLS handshake, and for the head of a request."""
_SEND_TIMEOUT = 60.0
"""Seconds without an acknowledgement of the client after which a connection is dropped."""
MAX_CONNECTIONS = 250
_KEEP_ALIVE = 90
"""Seconds that a connection may be idle: more than the interval between two scrapes."""
_MAX_FRAME = 2**20
"""Bytes of a WebSocket message."""


class NodeServer(Server):
    """Serves the node's API over TLS; the signals are the node's."""

    config: UvicornConfig

    def __init__(self, app: ASGIApp, context: ssl.SSLContext) -> None:
        """`context` asks for client certificates (`tls.accept_client_certificates`)."""
        super().__init__(
            UvicornConfig(
                app,
                http=NodeProtocol,
                ws=NodeWebSocketProtocol,
                ws_max_size=_MAX_FRAME,
                ws_per_message_deflate=False,  # a small frame could become a large message
                head_time=HEAD_TIME,
                send_timeout=_SEND_TIMEOUT,
                keep_alive_requests=10_000,
                max_connections=MAX_CONNECTIONS,
                is_secure=True,
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=1,
            )
        )
        self._context = context
        self.servers = []  # uvicorn's shutdown reads the list; the acceptor takes the place of its servers
        self._acceptors: list[Acceptor] = []

    async def serve_on(self, host: str, port: int) -> None:
        """Serves until it is cancelled. Raises StartupError if it cannot listen on the address."""
        with listening_to_clients(host, port) as listener:
            await self.serve_socket(listener)

    async def serve_socket(self, listener: socket.socket) -> None:
        """Serves on a listening socket until it is cancelled."""
        serving = asyncio.create_task(self.serve([listener]))
        try:
            await asyncio.shield(serving)
        finally:
            self.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Handles no signal."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts connections, with a bound on the time of a TLS handshake."""
        await self.lifespan.startup()
        self._acceptors = [
            Acceptor(listener, self._create_protocol, ssl=self._context, ssl_handshake_timeout=self.config.head_time)
            for listener in sockets or ()
        ]
        self.started = True

    def renew_tls(self, context: ssl.SSLContext) -> None:
        """New connections use another context."""
        self._context = context
        for acceptor in self._acceptors:
            acceptor.renew_tls(context)

    def _create_protocol(self) -> asyncio.Protocol:
        return NodeProtocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends requests and connections."""
        for acceptor in self._acceptors:
            acceptor.close()
            await acceptor.wait_closed()
        await super().shutdown(sockets)


@contextlib.contextmanager
def listening_to_clients(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket for the node's API. Raises StartupError."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with listening_on(address, Path(), _SEND_TIMEOUT, key="port", option="--port") as listener:
        # Accepted connections inherit the option: a client that has gone without a word ends its `logs -f`.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        yield listener
