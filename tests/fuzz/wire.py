"""A transport and an event loop for uvicorn's protocol, without a network."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from uvicorn.server import ServerState

from tests.support.http_client import Answer, Connection
from wagi_gateway.server.uvicorn_config import UvicornConfig

T = TypeVar("T")


async def _unused_app(_scope: object, _receive: object, _send: object) -> None:
    """An application that is never called."""


CONFIG = UvicornConfig(
    _unused_app, head_time=60, send_timeout=60, keep_alive_requests=1000, lifespan="off", log_config=None, ws="none"
)
CONFIG.load()
STATE = ServerState()
SILENT = logging.Logger("silent", logging.CRITICAL)


class Transport(asyncio.Transport):
    """Collects all written bytes, as a socket that is always ready."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 3000), "peername": ("127.0.0.1", 50000)})
        self.written = b""
        self._is_closing = False

    def write(self, data: Any) -> None:
        """Appends to `written`."""
        self.written += data

    def write_eof(self) -> None:
        """Does nothing: the client may still send."""

    def can_write_eof(self) -> bool:
        """True, as for TCP."""
        return True

    def close(self) -> None:
        """Sets `is_closing`; no bytes are read afterwards."""
        self._is_closing = True

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Does nothing: all input has arrived already."""

    def resume_reading(self) -> None:
        """Does nothing: all input has arrived already."""

    def get_write_buffer_size(self) -> int:
        """0: a write never waits."""
        return 0


class Clock:
    """The event loop's methods that a connection calls; time stands still."""

    def call_later(self, _delay: float, _callback: Callable[..., object]) -> _Timer:
        """Returns a timer that never expires."""
        return _Timer()


class _Timer:
    def cancel(self) -> None:
        """Does nothing: the timer never expires."""


class _Written:
    """A socket that holds responses."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, _size: int) -> bytes:
        data, self._data = self._data, b""
        return data


def answers(written: bytes, *, is_head: bool = False) -> list[Answer]:
    """The responses on the wire, read and checked by the strict client."""
    connection = Connection(cast(socket.socket, _Written(written)))
    found = []
    while not connection.ends():
        found.append(connection.answer(is_head=is_head))
    return found


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError("the coroutine suspends")


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Bytes in pieces of `size`, 0 for one piece; of more than 16 pieces the last is the rest."""
    rest = 15 * size
    pieces = [data[at : at + size] for at in range(0, min(rest, len(data)), size or 1)]
    return [*pieces, data[rest:]] if data[rest:] else pieces
