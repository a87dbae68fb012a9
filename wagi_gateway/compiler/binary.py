"""A reader of the WebAssembly binary format (core specification, chapter 5), for a size wasmtime has no API for."""

from __future__ import annotations

_HEADER = 8
"""Bytes of magic number and version."""
_CODE = 10
"""The id of the code section."""


def largest_function(module: bytes) -> int:
    """The size of the largest function body of a valid module, in bytes; 0 without functions."""
    position = _HEADER
    while position < len(module):
        section = module[position]
        size, position = _leb128(module, position + 1)
        if section == _CODE:
            return _largest_body(module, position)
        position += size
    return 0


def _largest_body(module: bytes, position: int) -> int:
    largest = 0
    count, position = _leb128(module, position)
    for _ in range(count):
        size, position = _leb128(module, position)
        position += size
        largest = max(largest, size)
    return largest


def _leb128(module: bytes, position: int) -> tuple[int, int]:
    """Decodes an unsigned LEB128 number; returns it and the position after it."""
    number = shift = 0
    while True:
        byte = module[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
