"""One client that reads a long response and discards it."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from .errors import Failed
from .sample import Work

MIB = 2**20
_READ_TIMEOUT = 60.0
"""Seconds."""


def download(url: str, size: int) -> Work:
    """Reads a chunked response of `size` bytes; the work is in MiB. Raises Failed if the response ends early."""
    target = urlsplit(url)
    request = f"GET {target.path} HTTP/1.1\r\nhost: {target.netloc}\r\nconnection: close\r\n\r\n".encode()
    buffer = memoryview(bytearray(MIB))
    with socket.create_connection((target.hostname, target.port or 80), timeout=_READ_TIMEOUT) as connection:
        connection.sendall(request)
        begin = time.perf_counter()
        total, end = 0, b""
        while count := connection.recv_into(buffer):
            total += count
            end = (end + bytes(buffer[max(0, count - 5) : count]))[-5:]
        seconds = time.perf_counter() - begin
    if total < size or end != b"0\r\n\r\n":
        raise Failed(f"{url} ended after {total} bytes")
    return Work(size // MIB, size / MIB / seconds)
