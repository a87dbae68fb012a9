"""A response that a guest has open: its head, and its body as the guest reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast
from urllib.parse import quote_from_bytes

import httpcore2

from .errors import RequestFailed

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_ASCII = bytes(range(128))
_MAX_FIELDS = 256
"""Header fields of a response."""
_READ_AT_ONCE = 64 * 1024
"""Bytes of a body that is read together with the head."""


class OpenResponse:
    """An open response. The body is read piece by piece, so that it may be larger than the gateway's memory."""

    def __init__(self, response: httpcore2.Response, max_size: int, *, is_head: bool) -> None:
        """`max_size` bounds the body in bytes; the response to a HEAD request, `is_head`, has none."""
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.headers]
        if self.value(b"transfer-encoding") is not None and self.value(b"content-length") is not None:
            # Transfer-Encoding overrides Content-Length, and what follows may be another response (RFC 9112 section
            # 6.3).
            self.headers = [field for field in self.headers if field[0] != b"content-length"]
            response.extensions["network_stream"].is_reusable = False
        self.received = 0
        """Bytes of the body that were read from the network."""
        self._response = response
        self._max_size = max_size
        self._pieces = iter(cast(Iterable[bytes], response.stream))
        self._size: int | None = None
        self._pending = memoryview(b"")
        self.has_ended = False
        """Whether the body was read to its end, or the response closed."""
        self._is_bodiless = is_head or response.status in (204, 304)

    def value(self, name: bytes) -> bytes | None:
        """The first value of a header; None without one."""
        return next((value for other, value in self.headers if other == name), None)

    def check_head(self, max_size: int) -> None:
        """Raises RequestFailed for a header section of more than `max_size` bytes, or with too many fields."""
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > max_size:
            what = f"the response's headers have {size} bytes (limits.http_headers)"
            raise RequestFailed(what, limit="http_headers")
        if len(self.headers) > _MAX_FIELDS:
            raise RequestFailed(f"the response has {len(self.headers)} header fields, more than {_MAX_FIELDS}")

    def location(self) -> str | None:
        """The reference of a redirect, with octets outside of ASCII percent-encoded (RFC 3986 section 2.1); None if the
        response is no redirect or has no Location. Raises RequestFailed for several fields that differ."""
        if self.status not in _REDIRECTS:
            return None
        found = {value for name, value in self.headers if name == b"location"}
        if not found:
            return None
        if len(found) > 1:
            raise RequestFailed("a redirect with several Location fields")
        # URLs are ASCII. Servers send Latin-1 and UTF-8, and get the same octets back, as from browsers and curl.
        return quote_from_bytes(found.pop(), _ASCII)

    def read(self, size: int) -> memoryview:
        """Reads up to `size` bytes; none at the end. Raises RequestFailed and httpcore2's errors."""
        while not self._pending and not self.has_ended:
            self._pending = memoryview(self._next())
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece

    def close(self) -> None:
        """Returns the connection to the pool, or closes it if the body was not read to its end."""
        self.has_ended = True
        self._response.close()

    def prepare(self) -> None:
        """Reads a small body, so that the connection is free for the next call. Raises RequestFailed for a
        Content-Length over the bound, and httpcore2's errors."""
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
            next(self._pieces, None)  # receives the end of the body, which a guest that counts bytes does not read
            self.close()
        return piece
