"""What wasmtime does not tell of a module's binary format (WebAssembly core specification, chapter 5)."""

from __future__ import annotations

_HEADER = 8
_CODE = 10


def largest_function(module: bytes) -> int:
    """Bytes of the largest function body of a valid module."""
    position = _HEADER
    while position < len(module):
        section = module[position]
        size, position = _number(module, position + 1)
        if section == _CODE:
            return _largest_body(module, position)
        position += size
    return 0


def _largest_body(module: bytes, position: int) -> int:
    largest = 0
    count, position = _number(module, position)
    for _ in range(count):
        size, position = _number(module, position)
        position += size
        largest = max(largest, size)
    return largest


def _number(module: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number and where it ends."""
    number = shift = 0
    while True:
        byte = module[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
