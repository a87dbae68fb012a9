"""The debug information of a module: names of functions, and source lines in DWARF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .binary import CUSTOM, MODULE, Malformed, Reader

_MAX_SECTIONS = 10_000


class DebugInfo(NamedTuple):
    """What the backtrace of a trap can show."""

    has_names: bool
    has_lines: bool


def debug_info(data: bytes) -> DebugInfo | None:
    """The debug information of a module in the binary format; None for other bytes, such as text."""
    if not data.startswith(MODULE):
        return None
    names = set(_custom_sections(data))
    return DebugInfo("name" in names, ".debug_line" in names)


def _custom_sections(data: bytes) -> Iterator[str]:
    """The names of the custom sections, as far as they can be read."""
    whole = Reader(data, len(MODULE), len(data))
    try:
        for _ in range(_MAX_SECTIONS):
            if whole.is_at_end():
                return
            section, size = whole.byte(), whole.number()
            content = whole.position
            whole.skip(size)
            if section == CUSTOM:
                yield Reader(data, content, whole.position).name()
    except Malformed:  # `check` says what is wrong
        return
