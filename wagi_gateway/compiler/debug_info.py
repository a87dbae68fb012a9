"""The debug information of a module: names of functions, and source lines in DWARF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from .binary import COMPONENT, CUSTOM, MODULE, Malformed, Reader
from .component_binary import find_modules

_MAX_SECTIONS = 10_000
_MAX_MODULES = 100
"""Core modules of a component whose sections are read."""


class DebugInfo(NamedTuple):
    """What the backtrace of a trap can show."""

    has_names: bool
    has_lines: bool


def debug_info(data: bytes) -> DebugInfo | None:
    """The debug information of a module or component in the binary format; None for other bytes, such as text."""
    if data.startswith(COMPONENT):
        names = {name for begin, end in _modules(data) for name in _custom_sections(data, begin, end)}
    elif data.startswith(MODULE):
        names = set(_custom_sections(data, 0, len(data)))
    else:
        return None
    return DebugInfo("name" in names, ".debug_line" in names)


def _modules(component: bytes) -> Iterator[tuple[int, int]]:
    """The core modules of a component, as far as they can be read."""
    with suppress(Malformed):
        yield from islice(find_modules(component), _MAX_MODULES)


def _custom_sections(data: bytes, begin: int, end: int) -> Iterator[str]:
    """The names of the custom sections of a module that lies at these positions, as far as they can be read."""
    whole = Reader(data, begin + len(MODULE), end)
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
