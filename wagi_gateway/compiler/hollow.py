"""Modules without their code and data, by which the types of a component are validated in no time."""

from __future__ import annotations

from .binary import CODE, MODULE, Reader, find_sections, leb128

_DATA, _DATA_COUNT = 11, 12
_BODY = b"\3\0\0\x0b"
"""A function body of three bytes: no locals, `unreachable`, `end`."""


def without_code(module: bytes) -> bytes:
    """The module with functions of the same types that trap, and without data. Raises Malformed."""
    pieces = [MODULE]
    for section in find_sections(module):
        content = module[section.content : section.end]
        if section.id == CODE:
            count = Reader(module, section.content, section.end).count()
            content = leb128(count) + _BODY * count
        if section.id not in (_DATA, _DATA_COUNT):
            pieces += [bytes([section.id]), leb128(len(content)), content]
    return b"".join(pieces)
