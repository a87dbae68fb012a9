"""The start section of a module whose guests have files: its function is exported, to be called by name.

wasmtime calls a start function within the instantiation. But a guest with files can call WASI only after the adapter
is instantiated, which needs the guest's memory (`sandbox.adapter`). So the start function is called after that.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from .binary import Malformed, Reader, find_sections, leb128

_EXPORT, _START = 7, 8
_FUNCTION = b"\0"


class Deferred(NamedTuple):
    """A module without a start section."""

    data: bytes
    start: bytes | None
    """The name under which the start function is exported; None if there is none."""


def defer_start(data: bytes) -> Deferred:
    """Turns a start section into an export. A module without one, or one that cannot be read, is returned as it is."""
    try:
        sections = {section.id: section for section in find_sections(data)}
        if _START not in sections:
            return Deferred(data, None)
        start = sections[_START]
        function = Reader(data, start.content, start.end).number()
        # No module contains a name that is made of its own bytes.
        name = b"start-" + hashlib.sha256(data).hexdigest().encode()
        export = leb128(len(name)) + name + _FUNCTION + leb128(function)
        begin, end, count, others = start.begin, start.begin, 0, b""
        if exports := sections.get(_EXPORT):
            reader = Reader(data, exports.content, exports.end)
            count = reader.number()
            others = data[reader.position : exports.end]
            begin, end = exports.begin, exports.end
    except Malformed:
        return Deferred(data, None)
    content = leb128(count + 1) + others + export
    section = bytes((_EXPORT,)) + leb128(len(content)) + content
    return Deferred(data[:begin] + section + data[end : start.begin] + data[start.end :], name)
