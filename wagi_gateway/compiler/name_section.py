"""The name section, whose function names stand in the backtrace of a trap, once for each frame."""

from __future__ import annotations

from collections.abc import Iterator

from .binary import CUSTOM, MODULE, Malformed, Reader

_NAME = b"name"
_FUNCTION_NAMES = 1
_MAX_NAME = 1024
"""Bytes of a function name. Names of C++ and Rust have some hundred."""


def without_long_names(data: bytes) -> bytes:
    """Drops the name sections of a module that have a function name of more than 1,024 bytes, or cannot be read."""
    pieces, copied = [], 0
    try:
        for begin, end, content in _name_sections(data):
            if _has_long_name(content):
                pieces.append(data[copied:begin])
                copied = end
    except Malformed:  # which wasmtime refuses
        return data
    return b"".join([*pieces, data[copied:]]) if pieces else data


def _has_long_name(section: Reader) -> bool:
    try:
        return any(size > _MAX_NAME for size in _sizes(section))
    except Malformed:  # wasmtime takes the names before the malformed part
        return True


def _name_sections(data: bytes) -> Iterator[tuple[int, int, Reader]]:
    """Begin, end and content of each name section."""
    if not data.startswith(MODULE):
        return
    whole = Reader(data, len(MODULE), len(data))
    while not whole.is_at_end():
        begin = whole.position
        section, size = whole.byte(), whole.number()
        content = whole.position
        whole.skip(size)
        if section == CUSTOM:
            reader = Reader(data, content, whole.position)
            length = reader.number()
            start = reader.position
            reader.skip(length)
            if data[start : reader.position] == _NAME:
                yield begin, whole.position, reader


def _sizes(section: Reader) -> Iterator[int]:
    """The sizes of the function names."""
    while not section.is_at_end():
        kind, size = section.byte(), section.number()
        end = section.position + size
        if kind == _FUNCTION_NAMES:
            for _ in range(section.number()):
                section.number()
                length = section.number()
                section.skip(length)
                yield length
        else:
            section.skip(size)
        if section.position != end:
            raise Malformed("a name section has another size than its content")
