"""The header block of a guest's standard output line by line: what becomes of each field."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ..cgi.response import FRONT_END, HeaderBlock, parse_block
from ..errors import BadOutput

MAX_LINES = 300
"""Lines that are explained; the gateway refuses a block with more of them."""
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_OWN = {
    "connection": "one connection's; the gateway manages it",
    "keep-alive": "one connection's; the gateway manages it",
    "te": "one connection's; the gateway manages it",
    "trailer": "one connection's; the gateway manages it",
    "upgrade": "one connection's; the gateway manages it",
    "date": "the gateway sets it",
    "server": "the gateway sets it",
    "x-request-id": "the gateway sets it",
    "content-length": "the gateway counts the body",
}
_SINGLE = ("status", "location", "content-type")


class FieldLine(NamedTuple):
    """A line of a header block."""

    offset: int
    """Byte of the line's start in the output."""
    name: str
    value: bytes
    fate: Literal["kept", "dropped", "error"]
    reason: str


class ParsedOutput(NamedTuple):
    """A guest's standard output as a CGI response."""

    lines: list[FieldLine]
    body: int | None
    """Byte at which the body begins; None without an empty line."""
    error: str
    error_at: int | None
    """Byte that breaks the block; None without an error, or without output."""


def parse_output(output: bytes, limit: int, *, front_end_headers: bool = False) -> ParsedOutput:
    """Explains the header block at the beginning of `output`."""
    block = HeaderBlock(limit, front_end_headers)
    error = ""
    error_at: int | None = None
    try:
        head = block.feed(output)
        if head is None:
            block.close()
    except BadOutput as bad:
        error, error_at = str(bad), bad.offset if output else None
    end, body = _end(output)
    lines = _lines(output[: min(end, limit)], front_end_headers=front_end_headers)
    return ParsedOutput(lines, body, error, error_at)


def _end(output: bytes) -> tuple[int, int | None]:
    if output.startswith((b"\n", b"\r\n")):
        return 0, output.index(b"\n") + 1
    found = _EMPTY_LINE.search(output)
    return found.span() if found else (len(output), None)


def _lines(block: bytes, *, front_end_headers: bool) -> list[FieldLine]:
    lines: list[FieldLine] = []
    offset = 0
    for line in block.split(b"\n")[:MAX_LINES] if block else ():
        lines.append(_explain(offset, line.removesuffix(b"\r"), front_end_headers=front_end_headers))
        offset += len(line) + 1
    return lines


def _explain(offset: int, line: bytes, *, front_end_headers: bool) -> FieldLine:
    raw, _, value = line.partition(b":")
    name, value = raw.decode("latin-1").lower(), value.strip(b" \t")
    try:
        # The gateway's own parser decides; a block needs one of _SINGLE, and an empty line is none of its lines.
        beside = b"" if name in _SINGLE and value else b"\nstatus: 200"
        head = parse_block((line or b"\x00") + beside, front_end_headers)
    except BadOutput as bad:
        return FieldLine(offset, name if b":" in line else "", value if b":" in line else line, "error", str(bad))
    if not value:
        return FieldLine(offset, name, value, "dropped", "no value: the same as no field (RFC 3875 section 6.3)")
    if name in _SINGLE or any(kept.decode("latin-1") == name for kept, _ in head.headers):
        return FieldLine(offset, name, value, "kept", "")
    return FieldLine(offset, name, value, "dropped", _why_dropped(name))


def _why_dropped(name: str) -> str:
    if reason := _OWN.get(name):
        return reason
    if name.startswith("proxy-"):
        return "a proxy's; the gateway sends none"
    servers = [server for start, server in FRONT_END.items() if name.startswith(start.decode())]
    return f"commands a front-end server ({servers[0]}); front_end_headers = true sends it"
