"""Modules whose sections have further elements: functions and their bodies, memories, exports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .binary import CODE, Malformed, Reader, Section, find_sections, leb128


class Elements(NamedTuple):
    """Elements to append to the vector of a section."""

    number: int
    encoded: bytes
    before: bytes | None = None
    """The elements in the place of those that the section has; None leaves them."""


def append_elements(module: bytes, sections: Mapping[int, Elements]) -> bytes:
    """A module with these elements appended to sections that it has, by id. Raises Malformed."""
    found = {section.id: section for section in find_sections(module)}
    if not found.keys() >= sections.keys():
        raise Malformed("a module lacks a section that it needs")
    data = module
    # The last section first, so that the positions of the others stay valid.
    for identifier in sorted(sections, key=lambda identifier: found[identifier].begin, reverse=True):
        data = _with_elements(data, found[identifier], sections[identifier])
    return data


def _with_elements(data: bytes, section: Section, elements: Elements) -> bytes:
    reader = Reader(data, section.content, section.end)
    # As many bytes as before, so that offsets in the section stay, to which debugging information refers.
    count = leb128(reader.number() + elements.number, least=reader.position - section.content)
    before = data[reader.position : section.end] if elements.before is None else elements.before
    size = leb128(len(count + before + elements.encoded), least=section.content - section.begin - 1)
    return b"".join((data[: section.begin + 1], size, count, before, elements.encoded, data[section.end :]))


def rewrite_bodies(
    module: bytes, possible: re.Pattern[bytes], rewrite: Callable[[Reader], bytes | None]
) -> bytes | None:
    """The function bodies of a module, as elements of its code section; None if none is rewritten. Raises Malformed.

    `rewrite` is called with those in which `possible` matches; it returns a new body, or None.
    """
    code = next((section for section in find_sections(module) if section.id == CODE), None)
    if code is None:
        return None
    reader = Reader(module, code.content, code.end)
    pieces = []
    count = reader.number()
    copied = reader.position
    for _ in range(count):
        begin = reader.position
        size = reader.number()
        start = reader.position
        reader.skip(size)
        if not possible.search(module, start, reader.position):
            continue
        if body := rewrite(Reader(module, start, reader.position)):
            pieces += [module[copied:begin], leb128(len(body), least=start - begin), body]
            copied = reader.position
    return b"".join([*pieces, module[copied : reader.position]]) if pieces else None
