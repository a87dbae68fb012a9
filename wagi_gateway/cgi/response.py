"""The header block of a guest's standard output, parsed strictly into a response head (RFC 3875 section 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from ..errors import BadOutput, RefusedOutput
from .environ import MAX_FIELDS
from .field_lines import Malformed, first_malformed, offset_of_last, parse_field_line, quote

_EMPTY_LINE = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"([2-5]\d\d)(?:[ \t].*)?", re.DOTALL)

# Fields of one connection, which the gateway manages (RFC 9110 section 7.6.1).
_HOP_BY_HOP = frozenset(b"connection keep-alive te trailer upgrade".split())
# Fields that the gateway sets itself (RFC 3875 section 6.3.4).
_GATEWAY_OWN = frozenset(b"date server content-length x-request-id".split())
_PROXY = b"proxy-"
FRONT_END = {
    b"endpoint-load-metrics": "Envoy: client-side weighted round robin (ORCA)",
    b"fly-replay": "Fly Proxy: dynamic request routing",
    b"grip-": "Pushpin, Fastly Fanout: Generic Realtime Intermediary Protocol",
    b"l5d-": "Linkerd 1: HTTP response headers",
    b"x-accel-": "nginx: ngx_http_proxy_module, proxy_ignore_headers",
    b"x-appengine-": "App Engine: Blobstore",
    b"x-archive-": "nginx: mod_zip",
    b"x-endpoint-load-metrics": "Google Cloud load balancing: custom metrics (ORCA)",
    b"x-envoy-": "Envoy: router filter, health check filter",
    b"x-hiawatha-": "Hiawatha: cache of CGI output",
    b"x-kong-": "Kong: response rate limiting",
    b"x-lighttpd-": "lighttpd: X-LIGHTTPD-send-file, mod_speed",
    b"x-litespeed-": "LiteSpeed: internal redirect, LSCache",
    b"x-reproxy-": "H2O: reproxy; Perlbal: X-REPROXY-URL, X-REPROXY-FILE",
    b"x-sendfile": "lighttpd: X-Sendfile, X-Sendfile2; Apache: mod_xsendfile; Cherokee, Abyss, Thruster",
}
"""Beginnings of the names of fields that a front-end server obeys, with the server and the part of its documentation.

X-Accel-Redirect has nginx serve its internal locations, X-Envoy-Immediate-Health-Check-Fail has Envoy take the whole
gateway out of service. `docs/behind-a-proxy.md` has the same table.
"""
_FRONT_END = tuple(FRONT_END)

# CGI fields, at most one of each (RFC 3875 section 6.3).
_SINGLE = (b"status", b"location", b"content-type")
_USUAL_BLOCK = 256
"""Largest block in bytes whose head is cached: most programs print the same few."""
_MAX_NAMED = 8
"""Field names in an error."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and header fields of a response: in order, repeated fields kept, names in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content_length: bytes | None
    """The guest's Content-Length, which is only compared: the gateway counts the body (RFC 3875 section 6.3)."""
    local_redirect: bytes | None = None
    """Path and query of a local redirect: a header block of a Location alone (RFC 3875 section 6.2.2)."""
    is_bodiless: bool = field(init=False, compare=False)
    """Whether the status forbids a body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_bodiless", self.status in (204, 205, 304))


class HeaderBlock:
    """An incremental parser of a header block, fed with pieces of any size. `rest` is the output after the block.

    >>> block = HeaderBlock(limit=1024)
    >>> block.feed(b"content-type: text/plain\\n")
    >>> block.feed(b"\\nhello").status, block.rest
    (200, b'hello')
    """

    def __init__(self, limit: int, front_end_headers: bool = False) -> None:
        """`limit` bounds the block in bytes; `front_end_headers` keeps fields that command a front-end server."""
        self._limit = limit
        self._front_end_headers = front_end_headers
        self._buffer: bytearray | None = None
        """The output so far, if it came in several pieces: most output comes in one."""
        self.rest = b""

    def feed(self, data: bytes) -> ResponseHead | None:
        """The head once the block is complete, else None. Raises BadOutput for a block that is no CGI response."""
        if self._buffer is None:
            size = len(data)
            end, rest = _end_of_block(data, 0)
        else:
            start = max(len(self._buffer) - 2, 0)
            self._buffer += data
            size = len(self._buffer)
            end, rest = _end_of_block(self._buffer, start)
        # The empty line "\n\r\n" has two bytes after the block's last: a block of exactly `limit` bytes passes.
        if end > self._limit or (end < 0 and size >= self._limit + 3):
            reason = f"the header block is longer than {self._limit} bytes"
            raise self._refused(BadOutput(reason, limit="header_block", offset=self._limit), data)
        if end < 0:
            self._buffer = self._buffer or bytearray(data)
            return None
        output = data if self._buffer is None else bytes(self._buffer)
        self.rest = output[rest:]
        parse = _parse_usual_block if end <= _USUAL_BLOCK else parse_block
        try:
            return parse(output[:end], self._front_end_headers)
        except BadOutput as error:
            raise self._refused(error, output) from None

    def close(self) -> None:
        """Raises BadOutput: the output ended before the empty line, or a line before its end is malformed."""
        if not self._buffer:
            raise BadOutput("the guest printed nothing")
        block = bytes(self._buffer)
        reason = "the output ended before the empty line that ends the header block"
        raise self._refused(first_malformed(block) or BadOutput(reason, offset=len(block)), block)

    @property
    def incomplete(self) -> RefusedOutput | None:
        """The output of a guest that has ended within its header block; None if there is none."""
        return RefusedOutput.cut(self._buffer, len(self._buffer)) if self._buffer else None

    def _refused(self, error: BadOutput, data: bytes) -> BadOutput:
        """The error with the beginning of the output."""
        error.output = RefusedOutput.cut(self._buffer or data, error.offset)
        return error


def _end_of_block(buffer: bytes | bytearray, start: int) -> tuple[int, int]:
    """Offsets of the end of the block's last line and of the body; (-1, -1) without an empty line."""
    if buffer.startswith((b"\n", b"\r\n")):
        return 0, buffer.index(b"\n") + 1
    found = _EMPTY_LINE.search(buffer, start)
    return found.span() if found else (-1, -1)


def parse_block(block: bytes, front_end_headers: bool = False) -> ResponseHead:
    """Parses a header block without its empty line (RFC 3875 section 6.3). Raises BadOutput."""
    if not block:
        raise BadOutput("the output begins with an empty line; a header block is wanted first")
    # Counted before the first line is parsed: 16,000 short lines would take the event loop 28 ms.
    if (lines := block.count(b"\n") + 1) > MAX_FIELDS:
        end = len(b"\n".join(block.split(b"\n", MAX_FIELDS)[:MAX_FIELDS])) + 1
        raise BadOutput(f"the header block has {lines} lines, more than {MAX_FIELDS}", offset=end)
    try:
        # A field with a NULL value is the same as an absent one (RFC 3875 section 6.3).
        fields = [field for field in map(parse_field_line, block.split(b"\n")) if field[1]]
    except Malformed as malformed:
        raise first_malformed(block) or BadOutput(str(malformed)) from None
    single = _single_fields(fields, block)
    if not single:
        raise BadOutput(_explain_missing(block), offset=len(block))
    location = single.get(b"location", b"")
    is_local = len(fields) == 1 and location.startswith(b"/") and b"#" not in location
    if location.startswith(b"//"):
        # The guest names a path; a browser would read `//x` as a host (RFC 3986 section 4.2).
        single[b"location"] = b"/." + location
    headers = [field for field in fields if _is_kept(field[0], front_end_headers=front_end_headers)]
    headers[:0] = [(name, single[name]) for name in (b"content-type", b"location") if name in single]
    lengths = [value for name, value in fields if name == b"content-length"]
    return ResponseHead(
        _status(single, block),
        tuple(headers),
        lengths[-1] if lengths else None,
        local_redirect=location if is_local else None,
    )


def _single_fields(fields: list[tuple[bytes, bytes]], block: bytes) -> dict[bytes, bytes]:
    """The fields of _SINGLE. Raises BadOutput for two that differ, and for a Transfer-Encoding."""
    single: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _SINGLE and single.setdefault(name, value) != value:
            raise BadOutput(f"two differing {name.decode()} fields", offset=offset_of_last(block, name))
        if name == b"transfer-encoding":
            raise BadOutput("Transfer-Encoding is the gateway's to set", offset=offset_of_last(block, name))
    return single


def _explain_missing(block: bytes) -> str:
    """The error of a header block without any of _SINGLE, with the field names that are there."""
    fields = [line.partition(b":") for line in block.split(b"\n")]
    names = [quote(name) + ("" if value.strip() else " without a value") for name, _, value in fields[:_MAX_NAMED]]
    more = f" and {len(fields) - _MAX_NAMED} more" if len(fields) > _MAX_NAMED else ""
    return f"none of Content-Type, Location and Status is there, only {', '.join(names)}{more}"


def _is_kept(name: bytes, *, front_end_headers: bool) -> bool:
    """Whether a field that is none of _SINGLE is sent to the client."""
    if name in _SINGLE or name in _HOP_BY_HOP or name in _GATEWAY_OWN or name.startswith(_PROXY):
        return False
    return front_end_headers or not name.startswith(_FRONT_END)


_parse_usual_block = lru_cache(maxsize=1024)(parse_block)


def _status(single: dict[bytes, bytes], block: bytes) -> int:
    """The status code: the Status field's, else 302 for a Location, else 200 (RFC 3875 sections 6.2 and 6.3.3)."""
    if b"status" not in single:
        return 302 if b"location" in single else 200
    match = _STATUS.fullmatch(single[b"status"])
    if not match:
        what = f"Status {quote(single[b'status'])} is not a code from 200 to 599"
        raise BadOutput(what, offset=offset_of_last(block, b"status"))
    return int(match[1])
