"""A guest's linear memory, as host functions read and write it."""

from __future__ import annotations

from abc import ABC, abstractmethod


class OutOfBounds(Exception):
    """An address lies outside the guest's memory."""


class Memory(ABC):
    """A guest's linear memory, which can grow while the guest runs, but not during a host call."""

    __slots__ = ("size", "view")

    def __init__(self, view: memoryview, size: int) -> None:
        """`view` may be larger than the `size` bytes that the guest has."""
        self.view = view
        self.size = size

    @abstractmethod
    def refresh(self) -> None:
        """Updates `size` and `view` after the guest may have grown its memory."""

    def check(self, start: int, size: int) -> None:
        """Raises OutOfBounds."""
        if start + size > self.size:
            self.refresh()
            if start + size > self.size:
                raise OutOfBounds

    def read(self, start: int, size: int) -> bytes:
        """Returns a copy of `size` bytes. Raises OutOfBounds."""
        self.check(start, size)
        return bytes(self.view[start : start + size])

    def write(self, start: int, data: bytes) -> None:
        """Writes `data`. Raises OutOfBounds, and then has written nothing."""
        self.check(start, len(data))
        self.view[start : start + len(data)] = data
