"""The field lines of a header block, and the error of the first one that is malformed (RFC 3875 section 6.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import BadOutput
from .environ import MAX_FIELDS

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_TOKEN = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_QUOTED = 80
"""Bytes of a line in an error."""


class Malformed(Exception):
    """A field line is malformed: the fault, and its offset in the line."""

    def __init__(self, fault: str, offset: int = 0) -> None:
        super().__init__(fault)
        self.offset = offset


class _Line(NamedTuple):
    number: int
    offset: int
    content: bytes

    @property
    def label(self) -> str:
        return "the first line" if self.number == 1 else f"line {self.number}"


def parse_field_line(line: bytes) -> tuple[bytes, bytes]:
    """The name in lower case, and the value without blanks around it. Raises Malformed."""
    line = line.removesuffix(b"\r")
    name, colon, value = line.partition(b":")
    if not colon:
        if line.startswith(b"HTTP/"):
            raise Malformed("is a status line: NPH output is not supported, print a Status field")
        raise Malformed(f"has no colon: {quote(line)}")
    if not _TOKEN.fullmatch(name):
        found = _NOT_TOKEN.search(name)
        raise Malformed(f"begins with {quote(name)}, which is not a field name", found.start() if found else 0)
    value = value.strip(b" \t")
    if _CONTROL.search(value):
        found = _CONTROL.search(line, len(name))
        what = f"has a control character in the value of {quote(name)}"
        raise Malformed(what, found.start() if found else 0)
    return name.lower(), value


def first_malformed(block: bytes) -> BadOutput | None:
    """The error of the first malformed line of a header block, which may end within a line; None if there is none."""
    for line in _lines(block):
        try:
            parse_field_line(line.content)
        except Malformed as malformed:
            return _refusal(line, malformed)
    return None


def offset_of_last(block: bytes, name: bytes) -> int:
    """The offset of the last line with this field name, which is in lower case."""
    return max((line.offset for line in _lines(block) if line.content.lower().startswith(name + b":")), default=0)


def quote(data: bytes) -> str:
    """The beginning of a line or field name in quotation marks."""
    return json.dumps(data[:_MAX_QUOTED].decode(errors="replace"), ensure_ascii=False)


def _refusal(line: _Line, malformed: Malformed) -> BadOutput:
    reason = f"{line.label} {malformed}"
    if line.number > 1 and b":" not in line.content:
        reason += "; the header block ends with an empty line"
    return BadOutput(reason, offset=line.offset + malformed.offset)


def _lines(block: bytes) -> Iterator[_Line]:
    """The lines of a header block, MAX_FIELDS at most."""
    offset = 0
    for number, content in enumerate(block.split(b"\n", MAX_FIELDS)[:MAX_FIELDS], start=1):
        if content not in (b"", b"\r"):
            yield _Line(number, offset, content)
        offset += len(content) + 1
