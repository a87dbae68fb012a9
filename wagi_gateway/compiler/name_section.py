"""Function names of a module: wasmtime demangles them for each frame of a backtrace, without a bound.

A mangled name refers to parts of itself. Each reference may hold two others, so that a C++ name of 300 bytes stands for
gigabytes. Sources: the name section of the WebAssembly specification; DWARF 5 section 7.5; the Itanium C++ ABI
section 5.1.10; Rust RFC 2603 for back references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .binary import CUSTOM, MODULE, Malformed, Reader

_NAME = b"name"
_DEBUGGING_INFORMATION = b".debug_"
_FUNCTION_NAMES = 1
_MAX_NAME = 1024
"""Bytes of a function name. Names of C++ and Rust have some hundred."""
_REFERENCE = re.compile(rb"[ST](?=[0-9A-Z]*_)|B(?=[0-9A-Za-z]*_)")
"""The first byte of a reference to a part of a mangled name: `S_`, `T0_` of C++, `B3_` of Rust."""
_MAX_REFERENCES = 10
"""References of a name that is demangled, to 32 times its size at most."""
_NOT_MANGLED = b"?"
"""A byte in no mangled name."""


class _Section(NamedTuple):
    begin: int
    end: int
    name: bytes
    content: Reader


class _FunctionName(NamedTuple):
    begin: int
    size: int


def bound_names(data: bytes) -> bytes:
    """A module whose function names are short, and are demangled to 32 times their size at most.

    Name sections with a function name of more than 1,024 bytes are dropped, as are those that cannot be read. A name
    with more than ten references gets a question mark as its first byte, and appears as it is. In debugging information
    the references themselves are replaced, because strings may overlap there.
    """
    bounded: bytearray | None = None
    dropped: list[_Section] = []
    try:
        for section in _custom_sections(data):
            if section.name == _NAME:
                names = _function_names(section.content)
                if names is None:
                    dropped.append(section)
                    continue
                changes = [name.begin for name in names if _is_recursive(data[name.begin : name.begin + name.size])]
            elif section.name.startswith(_DEBUGGING_INFORMATION):
                changes = _references(data, section)
            else:
                continue
            if changes:
                bounded = bounded or bytearray(data)
                for position in changes:
                    bounded[position : position + 1] = _NOT_MANGLED
    except Malformed:  # which wasmtime refuses
        return data
    return _without(bytes(bounded) if bounded else data, dropped)


def _is_recursive(name: bytes) -> bool:
    return len(name) > _MAX_REFERENCES and len(_REFERENCE.findall(name)) > _MAX_REFERENCES


def _references(data: bytes, section: _Section) -> list[int]:
    """The references in strings that have more than _MAX_REFERENCES."""
    found = []
    for string in re.finditer(rb"[^\0]+", data[section.begin : section.end]):
        if _is_recursive(string[0]):
            found += [section.begin + string.start() + match.start() for match in _REFERENCE.finditer(string[0])]
    return found


def _without(data: bytes, sections: list[_Section]) -> bytes:
    if not sections:
        return data
    pieces, copied = [], 0
    for section in sections:
        pieces.append(data[copied : section.begin])
        copied = section.end
    return b"".join([*pieces, data[copied:]])


def _custom_sections(data: bytes) -> Iterator[_Section]:
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
            yield _Section(begin, whole.position, data[start : reader.position], reader)


def _function_names(section: Reader) -> list[_FunctionName] | None:
    """The function names of a name section; None if it has a long one or cannot be read."""
    try:
        names = list(_names(section))
    except Malformed:  # wasmtime takes the names before the malformed part
        return None
    return names if all(name.size <= _MAX_NAME for name in names) else None


def _names(section: Reader) -> Iterator[_FunctionName]:
    while not section.is_at_end():
        kind, size = section.byte(), section.number()
        end = section.position + size
        if kind == _FUNCTION_NAMES:
            for _ in range(section.number()):
                section.number()
                length = section.number()
                yield _FunctionName(section.position, length)
                section.skip(length)
        else:
            section.skip(size)
        if section.position != end:
            raise Malformed("a name section has another size than its content")
