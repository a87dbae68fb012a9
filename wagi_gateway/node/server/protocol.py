"""uvicorn's protocols with the bounds of `server.protocol`, for HTTP and WebSockets, and with the client's certificate
in the ASGI scope: `scope["extensions"]["tls"]["peercert"]`, as SSLSocket.getpeercert returns it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from ...server.protocol import BoundedProtocol

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class NodeWebSocketProtocol(WSProtocol):
    """A WebSocket connection, once the head of its request is read."""

    on_end: Callable[[], None] = staticmethod(lambda: None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the certificate to the scope."""
        super().connection_made(transport)
        self.app = _with_certificate(self.app, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the connection."""
        super().connection_lost(exc)
        self.on_end()


class NodeProtocol(BoundedProtocol):
    """An HTTP connection, which may become a WebSocket connection."""

    _is_websocket = False
    """Whether the request under way asks for a WebSocket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the certificate to the scope."""
        super().connection_made(transport)
        self.app = _with_certificate(self.app, transport)

    def on_headers_complete(self) -> None:
        """Starts the request."""
        self._is_websocket = bool(self.parser.should_upgrade()) and super()._should_upgrade()
        super().on_headers_complete()

    def _should_upgrade(self) -> bool:
        return self._is_websocket

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Starts the WebSocket connection; other protocols are ignored."""
        if not self._is_websocket:
            super()._ignore_upgrade(rest)
        elif not self._is_admitted:
            self.transport.write(_TOO_MANY)
            self.transport.close()
        else:
            self.handle_websocket_upgrade()
            protocol: Any = self.transport.get_protocol()
            protocol.on_end = self._leave  # the connection counts until then
            if rest:
                protocol.data_received(rest)

    def _leave(self) -> None:
        self._settings.admitted -= self._is_admitted
        self._is_admitted = False


def _with_certificate(app: Any, transport: asyncio.Transport) -> Any:
    certificate = transport.get_extra_info("peercert") or None

    async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), "tls": {"peercert": certificate}}
        await app(scope, receive, send)

    return with_certificate
