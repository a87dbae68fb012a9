"""The deadline of an exchange with a registry, however slowly its bytes arrive."""

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

from .origin import check_peer


class RegistryDeadline:
    """Shuts connections down at the deadline. A timeout for each read does not bound a peer that sends byte after
    byte."""

    def __init__(self) -> None:
        self.seconds = math.inf
        """Seconds of the current exchange."""
        self._until = math.inf
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Sets the deadline of an exchange; connections in use after it are shut down."""
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
        """Seconds to the deadline, at least 0."""
        return max(0.0, self._until - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.left == 0

    def watch(self, connection: socket.socket) -> None:
        """Adds a connection to the ones that are shut down."""
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
        # Not SSLSocket.shutdown, which drops the TLS state that another thread reads with.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def watched_pools(deadline: RegistryDeadline) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools of urllib3 by scheme, whose connections `deadline` watches."""

    def watch(connection: HTTPConnection) -> None:
        if sock := connection.sock:
            deadline.watch(sock)

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            check_peer(self.host, self.sock)
            watch(self)

        def request(self, *args: object, **options: object) -> None:
            watch(self)  # an idle connection is used again without `connect`
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
