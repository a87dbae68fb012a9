"""A guest's standard output becomes a response head: the header block of RFC 3875 section 6, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ..errors import BadOutput

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(rb"([2-5]\d\d)(?:[ \t].*)?", re.DOTALL)

# They describe one connection, and this one is the gateway's (RFC 9110 section 7.6.1).
_HOP_BY_HOP = frozenset(b"connection keep-alive te trailer upgrade".split())
# The gateway writes its own (RFC 3875 section 6.3.4).
_GATEWAY_OWN = frozenset(b"date server content-length x-request-id".split())
# Orders to a front server, which a guest must not give: X-Accel-Redirect opens nginx's internal locations.
_PROXY = b"proxy-"
_FRONT_END = (b"x-accel-", b"x-sendfile", b"x-lighttpd-")

_SINGLE = (b"status", b"location", b"content-type")
_USUAL_BLOCK = 256
"""Bytes of a block whose head is remembered: most programs print the same few."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a guest's header block says: status and fields, in order, repeated ones kept, names in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content_length: bytes | None
    """The guest's own Content-Length, which is advice alone: the gateway counts (RFC 3875 section 6.3)."""
    local_redirect: bytes | None = None
    """The path and query of a Location that is all there is, which the gateway answers itself (RFC 3875 6.2.2)."""

    @property
    def is_bodiless(self) -> bool:
        """Whether the status forbids a body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5)."""
        return self.status in (204, 205, 304)


class HeaderBlock:
    """Reads a header block as it arrives, in pieces of any size; what follows the first empty line is `rest`.

    >>> block = HeaderBlock(limit=1024)
    >>> block.feed(b"content-type: text/plain\\n")
    >>> block.feed(b"\\nhello").status, block.rest
    (200, b'hello')
    """

    def __init__(self, limit: int, *, front_end_headers: bool = False) -> None:
        """`limit` bounds the block in bytes; `front_end_headers` lets the guest command a front server."""
        self._limit = limit
        self._front_end_headers = front_end_headers
        self._buffer = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> ResponseHead | None:
        """The head once the block is complete. Raises BadOutput for a block that is no CGI response."""
        start = max(len(self._buffer) - 2, 0)
        if self._buffer:
            self._buffer += data
        output = self._buffer or data  # most output comes in one piece, and is not copied
        end, rest = _end_of_block(output, start)
        # An end at the limit is seen two bytes later ("\n\r\n"), whatever the pieces.
        if end > self._limit or (end < 0 and len(output) >= self._limit + 3):
            raise BadOutput(f"the header block is longer than {self._limit} bytes", limit="header_block")
        if end < 0:
            self._buffer = self._buffer or bytearray(data)
            return None
        self.rest = bytes(output[rest:])
        parse = _parse_usual_block if end <= _USUAL_BLOCK else parse_block
        return parse(bytes(output[:end]), front_end_headers=self._front_end_headers)

    def close(self) -> None:
        """The output has ended before an empty line did. Always raises BadOutput, with the reason."""
        if not self._buffer:
            raise BadOutput("the guest printed nothing")
        raise BadOutput("the output ended before the empty line that ends the header block")


def _end_of_block(buffer: bytes | bytearray, start: int) -> tuple[int, int]:
    """Where the block's last line ends and where the body begins; (-1, -1) while there is no empty line."""
    if buffer.startswith((b"\n", b"\r\n")):
        return 0, buffer.index(b"\n") + 1
    bare, with_cr = buffer.find(b"\n\n", start), buffer.find(b"\n\r\n", start)
    if with_cr >= 0 and (bare < 0 or with_cr < bare):
        return with_cr, with_cr + 3
    return bare, bare + 2 if bare >= 0 else -1


def parse_block(block: bytes, *, front_end_headers: bool = False) -> ResponseHead:
    """A header block without its empty line as a response head (RFC 3875 section 6.3). Raises BadOutput."""
    if not block:
        raise BadOutput("the output begins with an empty line; a header block is wanted first")
    fields = [_parse_line(line) for line in block.split(b"\n")]
    single: dict[bytes, bytes] = {}
    headers = []
    content_length = None
    for name, value in fields:
        if not value:  # "NULL value" is the same as not sent (RFC 3875 section 6.3)
            continue
        if name in _SINGLE and single.setdefault(name, value) != value:
            raise BadOutput(f"two differing {name.decode()} fields")
        if name == b"transfer-encoding":
            raise BadOutput("Transfer-Encoding is the gateway's to set")
        if name == b"content-length":
            content_length = value
        if name.startswith(_FRONT_END) and not front_end_headers:
            continue
        if not (name in _SINGLE or name in _HOP_BY_HOP or name in _GATEWAY_OWN or name.startswith(_PROXY)):
            headers.append((name, value))
    if not single:
        raise BadOutput("none of Content-Type, Location and Status is there")
    is_alone = sum(bool(value) for _, value in fields) == 1
    is_local = is_alone and single.get(b"location", b"").startswith(b"/") and b"#" not in single[b"location"]
    local_redirect = single[b"location"] if is_local else None
    if single.get(b"location", b"").startswith(b"//"):
        # A path, as everything after a slash is here; a browser would take it for a host (RFC 3986 section 4.2).
        single[b"location"] = b"/." + single[b"location"]
    headers[:0] = [(name, single[name]) for name in (b"content-type", b"location") if name in single]
    return ResponseHead(_status(single), tuple(headers), content_length, local_redirect=local_redirect)


_parse_usual_block = lru_cache(maxsize=1024)(parse_block)


def _parse_line(line: bytes) -> tuple[bytes, bytes]:
    line = line.removesuffix(b"\r")
    name, colon, value = line.partition(b":")
    if not colon:
        if line.startswith(b"HTTP/"):
            raise BadOutput("a status line: NPH output is not supported, print a Status field")
        raise BadOutput(f"the line {line[:80]!r} has no colon")
    if not _TOKEN.fullmatch(name):
        raise BadOutput(f"{name[:80]!r} is not a field name")
    value = value.strip(b" \t")
    if _CONTROL.search(value):
        raise BadOutput(f"the value of {name[:80].decode()} contains a control character")
    return name.lower(), value


def _status(single: dict[bytes, bytes]) -> int:
    """Status wins over Location's 302, whatever the order (RFC 3875 sections 6.2 and 6.3.3)."""
    if b"status" not in single:
        return 302 if b"location" in single else 200
    match = _STATUS.fullmatch(single[b"status"])
    if not match:
        raise BadOutput(f"Status {single[b'status'][:40]!r} is not a code from 200 to 599")
    return int(match[1])
