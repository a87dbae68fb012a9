"""The Range field of a GET request (RFC 9110 section 14.2)."""

from __future__ import annotations

import re

from ..cgi.request import RequestHead

_ONE = rb"(?:\d{1,15}-(?:\d{1,15})?|-\d{1,15})"
_RANGES = re.compile(rb"bytes=(" + _ONE + rb"(?:[ \t]*,[ \t]*" + _ONE + rb")*)")


def satisfiable_ranges(request: RequestHead, size: int) -> list[tuple[int, int]] | None:
    """The first and last positions of the requested ranges that a representation of `size` bytes has.

    The list is empty if it has none of them: the response is 416. None stands for a field that is absent or ignored, as
    an invalid one is.
    """
    values = request.values(b"range")
    match = _RANGES.fullmatch(values[0].lower()) if request.method == "GET" and len(values) == 1 else None
    if match is None:
        return None
    ranges = []
    for one in match[1].split(b","):
        first, _, last = one.strip(b" \t").partition(b"-")
        if not first:
            start, end = max(size - int(last), 0), size - 1
            if not size and int(last):  # satisfiable, but nothing that Content-Range could name
                return None
        else:
            start, end = int(first), int(last) if last else size - 1
            if last and end < start:
                return None
        if start < size:
            ranges.append((start, min(end, size - 1)))
    return ranges
