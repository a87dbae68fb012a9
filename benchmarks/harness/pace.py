"""An open-loop load generator: requests at a constant rate, each latency counted from the time the request was due.

A closed-loop generator sends its next request after the previous response, so that a slow server gets fewer requests
and its latency is understated ("coordinated omission"). Here a request that is due while all connections are busy is
sent late, and its delay counts. The loop polls without sleep, because timers are too coarse, and needs its own core.
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

from .errors import Failed

_LENGTH = re.compile(rb"^content-length: *(\d+)\r?$", re.IGNORECASE | re.MULTILINE)
_TIMEOUT = 10.0
"""Seconds after the last due time in which all responses must have arrived; also of a connect."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency in seconds."""

    median: float
    p99: float
    count: int
    """Requests."""


def pace(url: str, rate: float, seconds: float, connections: int) -> Latency:
    """The latency of GET requests at `rate` per second over `connections`. Raises Failed if the server falls behind."""
    target = urlsplit(url)
    request = f"GET {target.path} HTTP/1.1\r\nhost: {target.netloc}\r\n\r\n".encode()
    sockets: dict[int, socket.socket] = {}
    try:
        for _ in range(connections):
            connection = socket.create_connection((target.hostname, target.port or 80), timeout=_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            sockets[connection.fileno()] = connection
        latencies = _drive(sockets, request, rate, max(100, int(rate * seconds)))
    finally:
        for connection in sockets.values():
            connection.close()
    cuts = statistics.quantiles(latencies, n=100)
    return Latency(cuts[49], cuts[98], len(latencies))


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
            if time_now > start + count * interval + _TIMEOUT:
                raise Failed("the server does not keep up with half of its maximum rate")
    return latencies


def _is_complete(answer: bytes) -> bool:
    """Whether a response is complete, by its Content-Length or by its last chunk. Raises Failed unless it is a 200."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Failed(f"answered {answer[:100]!r} at constant rate")
    if found := _LENGTH.search(head):
        return bool(separator) and len(body) == int(found[1])
    return bool(separator) and body.endswith(b"0\r\n\r\n")
