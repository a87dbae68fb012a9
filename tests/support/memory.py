"""A linear memory without a guest, for direct calls of host functions."""

from __future__ import annotations

from wagi_gateway.sandbox.host import Memory


class BytesMemory(Memory):
    """A linear memory of some bytes."""

    __slots__ = ("data",)

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.data = bytearray(size)

    def read(self, start: int, size: int) -> bytes:
        self.check(start, size)
        return bytes(self.data[start : start + size])

    def write(self, start: int, data: bytes) -> None:
        self.check(start, len(data))
        self.data[start : start + len(data)] = data
