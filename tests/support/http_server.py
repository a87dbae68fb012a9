"""An HTTP/1.1 server on a loopback address, with a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TICK = 0.02
"""The interval in seconds of the check whether the server must end."""


class LoopbackServer(ThreadingHTTPServer):
    """Serves from `start` to `end` on a free port, over TLS with a context."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, host: str, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None) -> None:
        self.ending = threading.Event()
        self.accepted: list[tuple[Any, ...]] = []
        """The peer of each connection so far."""
        self.errors: list[BaseException] = []
        """Exceptions of handlers, except errors of their connections."""
        self._host = host
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(TICK,))
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), handler)

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self._host}]:{self.server_port}" if ":" in self._host else f"{self._host}:{self.server_port}"

    @property
    def url(self) -> str:
        """Scheme, host and port: `http://127.0.0.1:40001`."""
        return f"{'https' if self._tls else 'http'}://{self.authority}"

    def start(self) -> None:
        """Begins to accept connections."""
        self._thread.start()

    def end(self) -> None:
        """Shuts down every connection, waits for all threads, and fails if a handler has failed."""
        self.ending.set()
        self.shutdown()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):  # the client was faster
                # Not SSLSocket.shutdown, which discards the TLS state while another thread reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()
        assert not self.errors, self.errors

    def server_bind(self) -> None:
        """Binds without HTTPServer's look-up of the host's name."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self._host, self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection."""
        connection, peer = super().get_request()
        self.accepted.append(peer)
        return connection, peer

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Does the TLS handshake in the connection's own thread, so that no connection waits for another handshake."""
        connection = self._tls.wrap_socket(request, server_side=True) if self._tls else request
        self._open.add(connection)
        try:
            if not self.ending.is_set():
                super().finish_request(connection, client_address)
        finally:
            self._open.discard(connection)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Keeps an error for `end`; ignores the OSError, also ssl.SSLError, of a client that has left."""
        error = sys.exception()
        if error and not isinstance(error, OSError):
            self.errors.append(error)
