"""A linear memory without a guest, for direct calls of host functions."""

from __future__ import annotations

from wagi_gateway.sandbox.memory import Memory


class BytesMemory(Memory):
    """A linear memory of some bytes, which may grow."""

    __slots__ = ("_max_size",)

    def __init__(self, size: int, max_size: int | None = None) -> None:
        """`max_size` is the size after the first `refresh`, as of a guest that has called `memory.grow`."""
        self._max_size = max_size or size
        super().__init__(memoryview(bytearray(self._max_size)), size)

    def refresh(self) -> None:
        self.size = self._max_size
