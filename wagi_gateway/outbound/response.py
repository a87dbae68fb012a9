"""A response a guest holds open: its head, and its body as the guest reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import httpcore2

from .errors import RequestFailed

_READ_AT_ONCE = 64 * 1024
"""Bytes of a body that is read with its head."""


class OpenResponse:
    """Its body comes piece by piece, bounded, so that a guest may read more than the gateway would hold."""

    def __init__(self, response: httpcore2.Response, max_size: int, *, is_head: bool) -> None:
        """The body may have `max_size` bytes; `is_head` is a response to HEAD, which has none."""
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.headers]
        self.received = 0
        """Bytes of the body that were read so far."""
        self._response = response
        self._max_size = max_size
        self._pieces = iter(cast(Iterable[bytes], response.stream))
        self._size: int | None = None
        self._pending = memoryview(b"")
        self.has_ended = False
        """Whether nothing more comes from the network."""
        self._is_bodiless = is_head or response.status in (204, 304)

    def value(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for other, value in self.headers if other == name), None)

    def read(self, size: int) -> memoryview:
        """The next bytes, at most `size`; none at the end. Raises RequestFailed, and what httpcore2 raises."""
        while not self._pending and not self.has_ended:
            self._pending = memoryview(self._next())
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece

    def close(self) -> None:
        """Gives the connection back; one with a body that nobody read to its end is closed."""
        self.has_ended = True
        self._response.close()

    def prepare(self) -> None:
        """Reads a small body, so that its connection is free for the next call. Raises RequestFailed for one that is
        announced to be too large, and what httpcore2 raises."""
        length = self.value(b"content-length") or b""
        size = self._size = 0 if self._is_bodiless else int(length) if length.isdigit() else None
        if size is not None and size > self._max_size:
            what = f"the response has {size} bytes, limits.http_response are {self._max_size}"
            raise RequestFailed(what, limit="http_response")
        if size is not None and size <= _READ_AT_ONCE:
            body = b""
            while not self.has_ended:
                body += self._next()
            self._pending = memoryview(body)

    def _next(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            self.close()
            return b""
        self.received += len(piece)
        if self.received > self._max_size:
            what = f"the response has more than limits.http_response ({self._max_size} bytes)"
            raise RequestFailed(what, limit="http_response")
        if self.received == self._size:
            next(self._pieces, None)  # the end, which is there already; whoever counts bytes does not ask for it
            self.close()
        return piece
