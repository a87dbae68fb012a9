"""A bounded copy of one stream: the first bytes, and size and digest of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

MAX_CAPTURE = 1024 * 1024
"""Bytes of a stream that are kept; beyond them only size and digest are."""


class CaptureBudget:
    """The bytes that all captures of one history hold together."""

    def __init__(self, limit: int, make_room: Callable[[int], object] = lambda _size: None) -> None:
        """`make_room` is called with a number of missing bytes, and may give bytes back."""
        self.limit = limit
        self.used = 0
        self._make_room = make_room

    def take(self, size: int) -> bool:
        """Reserves `size` bytes; returns whether there was room."""
        if self.used + size > self.limit:
            self._make_room(self.used + size - self.limit)
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Frees `size` reserved bytes."""
        self.used -= size


class Capture:
    """The beginning of a stream. A stream beyond MAX_CAPTURE, or beyond the budget, is cut off."""

    __slots__ = ("_budget", "_content", "_hash", "_is_cut", "_is_freed", "size")

    def __init__(self, budget: CaptureBudget) -> None:
        self.size = 0
        """Bytes of the whole stream."""
        self._budget = budget
        self._content: bytes | bytearray = bytearray()
        self._hash = hashlib.sha256()
        self._is_cut = False
        self._is_freed = False

    def feed(self, data: bytes) -> None:
        """Adds a piece of the stream."""
        self.size += len(data)
        self._hash.update(data)
        is_full = self._is_cut or self._is_freed
        kept = b"" if is_full else data[: MAX_CAPTURE - len(self._content)]
        if kept and self._budget.take(len(kept)):
            self._content += kept
        self._is_cut = self.size > len(self._content)

    def seal(self) -> None:
        """Ends the stream: the bytes are kept without the room that a stream keeps for more, and not copied again."""
        self._content = bytes(self._content)

    @property
    def content(self) -> bytes:
        """The bytes that are kept."""
        return bytes(self._content)

    @property
    def is_cut(self) -> bool:
        """Whether the stream has more bytes than were kept."""
        return self._is_cut

    @property
    def held(self) -> int:
        """Bytes of the budget that the capture holds."""
        return len(self._content)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole stream, in hexadecimal."""
        return self._hash.hexdigest()

    def replaced(self) -> Capture:
        """An empty capture in the place of this one, which is freed. One that was freed before has no successor."""
        if self._is_freed:
            return self
        self.free()
        return Capture(self._budget)

    def free(self) -> None:
        """Drops the kept bytes, and keeps none from now on: the history may drop a request that still runs."""
        self._budget.give_back(len(self._content))
        self._content = bytearray()
        self._is_cut = self.size > 0
        self._is_freed = True
