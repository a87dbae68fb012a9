"""Faults of clients."""

from __future__ import annotations

import itertools
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.conftest import wait_until
from tests.support.attacks import get
from tests.support.http_client import is_whole_hello

from .city import TIMEOUT, City

_DRIP = 0.1
"""Seconds between two bytes of a slow client."""
_CROWD = 2000


def slow_heads(city: City) -> None:
    """Clients whose request head never ends are disconnected, although they send all the time."""
    _drip(city, 200, b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: ")


def slow_bodies(city: City) -> None:
    """Clients whose request body never ends are disconnected, with a Content-Length and without."""
    _drip(city, 50, b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
    _drip(city, 50, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n")


def slow_readers(city: City) -> None:
    """Clients that do not read the response are disconnected, and their guests end."""
    with _connected(city, 64, small=True) as connections:
        for connection, path in zip(connections, itertools.cycle(("/pour", "/files/large", "/files/large", "/pour"))):
            connection.sendall(get(path) if path == "/pour" else get(path) * 3)
        # The kernel removes the connection without a notice to a client that does not read.
        ports = {f":{connection.getsockname()[1]:04X}" for connection in connections}
        wait_until(lambda: not ports & _peers(city), TIMEOUT, lambda: "who reads nothing is still connected")


def aborted_uploads(city: City) -> None:
    """Clients that disconnect within a request body."""
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n"
    for _ in range(3):
        with _connected(city, 50) as connections:
            for connection, leave in zip(connections, itertools.cycle((socket.socket.close, _reset))):
                connection.sendall(head + b"x" * 1_200_000)
                leave(connection)


def aborted_downloads(city: City) -> None:
    """Clients that disconnect within a response."""
    for path in ("/pour", "/files/large", "/pieces"):
        with _connected(city, 30) as connections:
            for connection in connections:
                connection.sendall(get(path))
            for connection, leave in zip(connections, itertools.cycle((socket.socket.close, _reset))):
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
                leave(connection)


def a_crowd(city: City) -> None:
    """2,000 connections at the same time with one request each: the gateway answers all."""
    # Each first request is sent at once: a connection without one is closed after `head_time`.
    with _connected(city, _CROWD, request=get("/crowd")) as connections:
        for is_second in (False, True):
            for connection in connections if is_second else ():
                connection.sendall(get("/crowd"))
            deadline = time.monotonic() + TIMEOUT
            for connection in connections:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                answer = b""
                while not is_whole_hello(answer):
                    piece = connection.recv(65536)
                    assert piece, answer
                    answer += piece
                assert answer.startswith(b"HTTP/1.1 200 "), answer


def _drip(city: City, count: int, beginning: bytes) -> None:
    """Sends single bytes on each connection until the gateway has answered or closed all of them."""
    with _connected(city, count) as connections:
        living = list(connections)
        for connection in living:
            connection.sendall(beginning)
        deadline = time.monotonic() + TIMEOUT
        while living:
            assert time.monotonic() < deadline, f"{len(living)} slow clients wait for nothing"
            for connection in list(living):
                readable, *_rest = select.select([connection], [], [], 0)
                with suppress(OSError):
                    if not readable:
                        connection.send(b"x")
                        continue
                    answer = connection.recv(65536)
                    assert not answer or answer.startswith(b"HTTP/1.1 408 "), answer
                living.remove(connection)
            time.sleep(_DRIP)


def _peers(city: City) -> set[str]:
    """The ports of connected clients, as in /proc/net/tcp."""
    here = f":{city.gateway.address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[2][-5:] for row in rows if row[1][-5:] == here and row[9] != "0"}


@contextmanager
def _connected(city: City, count: int, *, small: bool = False, request: bytes = b"") -> Iterator[list[socket.socket]]:
    """`count` connections with a request on each, with the smallest receive buffer or the usual one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 1000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            if small:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(TIMEOUT)
            connection.connect(city.gateway.address)
            connection.sendall(request)
            connections.append(connection)
        yield connections


def _reset(connection: socket.socket) -> None:
    """Resets a connection, like a client that crashes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
