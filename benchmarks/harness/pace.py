"""Requests at a constant rate, whatever the server does, each timed from the moment it was due.

A generator that waits for answers before it sends the next request asks a slow server less often, and so does not see
the slowness ("coordinated omission"). Here a request that is due while all connections are busy is sent later, and the
wait counts. The loop polls without a pause, because timers are too coarse for it; it has a core of its own.
"""

from __future__ import annotations

import collections
import re
import select
import socket
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import Failed

_LENGTH = re.compile(rb"^content-length: *(\d+)\r?$", re.IGNORECASE | re.MULTILINE)
_PATIENCE = 10.0
"""Seconds that answers may be late."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds."""

    median: float
    p99: float


def pace(url: str, rate: float, seconds: float, connections: int) -> Latency:
    """Asks for `url` so many times a second."""
    target = urlsplit(url)
    request = f"GET {target.path} HTTP/1.1\r\nhost: {target.netloc}\r\n\r\n".encode()
    sockets: dict[int, socket.socket] = {}
    try:
        for _ in range(connections):
            connection = socket.create_connection((target.hostname, target.port or 80), timeout=_PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            sockets[connection.fileno()] = connection
        latencies = _drive(sockets, request, rate, max(100, int(rate * seconds)))
    finally:
        for connection in sockets.values():
            connection.close()
    cuts = statistics.quantiles(latencies, n=100)
    return Latency(cuts[49], cuts[98])


def _drive(connections: dict[int, socket.socket], request: bytes, rate: float, count: int) -> list[float]:
    now = time.perf_counter
    idle = list(connections)
    due: collections.deque[float] = collections.deque()
    began = dict.fromkeys(connections, 0.0)
    answers = dict.fromkeys(connections, b"")
    latencies: list[float] = []
    sent, interval = 0, 1 / rate
    with select.epoll() as epoll:
        for descriptor in connections:
            epoll.register(descriptor, select.EPOLLIN)
        start = now()
        while len(latencies) < count:
            time_now = now()
            while sent < count and start + sent * interval <= time_now:
                due.append(start + sent * interval)
                sent += 1
            while due and idle:
                descriptor = idle.pop()
                began[descriptor] = due.popleft()
                connections[descriptor].send(request)
            for descriptor, _ in epoll.poll(0):
                answers[descriptor] += connections[descriptor].recv(65536)
                if _is_complete(answers[descriptor]):
                    latencies.append(now() - began[descriptor])
                    answers[descriptor] = b""
                    idle.append(descriptor)
            if time_now > start + count * interval + _PATIENCE:
                raise Failed("the server does not keep up with half of its maximum rate")
    return latencies


def _is_complete(answer: bytes) -> bool:
    """Whether all of a response is there; it says its length, or comes in chunks where the guest took its time."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Failed(f"answered {answer[:100]!r} at constant rate")
    if found := _LENGTH.search(head):
        return bool(separator) and len(body) == int(found[1])
    return bool(separator) and body.endswith(b"0\r\n\r\n")
