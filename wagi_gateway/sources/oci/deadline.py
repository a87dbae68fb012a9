"""One bound on everything a conversation with a registry does, however slowly its bytes come."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from weakref import WeakSet

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class RegistryDeadline:
    """Ends connections when time is up: a timeout for each read is no bound on a peer that sends byte after byte."""

    def __init__(self) -> None:
        self.seconds = math.inf
        """What was allowed."""
        self._until = math.inf
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What happens inside has that long; connections it uses are shut down after it."""
        self.seconds, self._until = seconds, time.monotonic() + seconds
        timer = threading.Timer(seconds, self._shut_down)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self.seconds = self._until = math.inf

    @property
    def left(self) -> float:
        """Seconds; not below 0."""
        return max(0.0, self._until - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether time is up."""
        return self.left == 0

    def watch(self, connection: socket.socket) -> None:
        """Ends this connection with the others."""
        with self._lock:
            self._sockets.add(connection)
            if self.has_passed:
                _shut_down(connection)

    def _shut_down(self) -> None:
        with self._lock:
            for connection in self._sockets:
                _shut_down(connection)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket's, which would take the TLS state from under the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def watched_pools(deadline: RegistryDeadline) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools by scheme, their connections watched by `deadline`."""

    def watch(connection: HTTPConnection) -> None:
        if sock := connection.sock:
            deadline.watch(sock)

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            watch(self)

        def request(self, *args: object, **options: object) -> None:
            watch(self)  # a kept connection is not connected again
            super().request(*args, **options)  # type: ignore[arg-type]

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            watch(self)

        def request(self, *args: object, **options: object) -> None:
            watch(self)
            super().request(*args, **options)  # type: ignore[arg-type]

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
