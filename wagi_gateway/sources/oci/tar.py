"""A reader of tar archives as streams, in bounded memory and time.

The standard library's `tarfile` is not safe for untrusted archives: it reads headers and sparse maps of any size into
memory, backtracks over them (CVE-2024-6232) and can loop (CVE-2025-8194), depending on the patch release of Python; and
it expands a sparse member of 1.5 KB to 4 GiB. This reader accepts the formats of image layers, POSIX.1-2001 `pax` and
GNU's long names, and refuses everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BLOCK = 512
_MAX_HEADER = 1 << 20
"""Bytes of an extended header or long name, as in Go's archive/tar."""
_MAX_MEMBERS = 100_000
_READ_SIZE = 1 << 16

_OCTAL = re.compile(rb"[0-7]+")

Read = Callable[[int], bytes]
"""Reads up to as many bytes; none at the end."""


class TarError(Exception):
    """Not a tar archive, or one with members that layers do not have."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member; its content can be read until the next member is."""

    name: str
    size: int
    """Bytes of content; 0 for links, directories, devices and pipes."""
    is_file: bool
    """Whether the member is a regular file."""
    read: Callable[[], bytes]
    """Returns the content, once. Raises TarError."""


def members(read: Read) -> Iterator[Member]:
    """Reads the members in order. Raises TarError and `read`'s errors."""
    stream = _Stream(read)
    extended: dict[str, str] = {}
    for _ in range(_MAX_MEMBERS):
        block = stream.take(_BLOCK, may_end=True)
        if not block.strip(b"\0"):  # POSIX ends with two such blocks; GNU tar and Go accept one
            return
        if block[148:156].strip(b"\0 ").lstrip(b"0") != b"%o" % _checksum(block):
            raise TarError("no tar header where one should be")
        kind, size = block[156:157], _number(block[124:136])
        if kind in b"xLK" or kind == b"g":
            body = stream.content(size, _MAX_HEADER)
            if kind == b"g":
                if _records(body):
                    raise TarError("a global header that renames or resizes every member")
            elif kind == b"x":
                extended |= _records(body)
            elif kind == b"L":
                extended["path"] = _text(body)
            continue
        if kind == b"S":
            raise TarError(f"a sparse member, {_name(block)!r}")
        name = extended.get("path") or _name(block)
        is_file = kind in (b"0", b"\0", b"7") and not name.endswith("/")
        if kind in b"123456":  # links, devices, directories and pipes have no content, whatever size they state
            size = 0
        elif "size" in extended:
            size = _decimal(extended["size"])
        extended = {}
        stream.begin(size)
        yield Member(name, size, is_file, stream.rest)
        stream.skip()
    raise TarError(f"more than {_MAX_MEMBERS} members")


class _Stream:
    """A stream of blocks, which counts the unread bytes of the current member."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._left = self._padding = 0

    def take(self, size: int, *, may_end: bool = False) -> bytes:
        pieces: list[bytes] = []
        while size:
            piece = self._read(min(size, _READ_SIZE))
            if not piece:
                if may_end and not pieces:  # GNU tar accepts an end without zero blocks, too
                    return b""
                raise TarError("the archive ends early")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def content(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise TarError(f"a header of {size} bytes")
        self.begin(size)
        data = self.rest()
        self.skip()
        return data

    def begin(self, size: int) -> None:
        self._left, self._padding = size, -size % _BLOCK

    def rest(self) -> bytes:
        data = self.take(self._left)
        self._left = 0
        return data

    def skip(self) -> None:
        left = self._left + self._padding
        self._left = self._padding = 0
        while left:
            left -= len(self.take(min(left, _READ_SIZE)))


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")


def _number(field: bytes) -> int:
    """Decodes octal digits, or GNU's base-256 where the first bit is set."""
    if field[0] & 0x80:
        if field[0] != 0x80:  # negative, or larger than any disk
            raise TarError("a size out of range")
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ") or b"0"
    if not _OCTAL.fullmatch(digits):
        raise TarError("a number that is not octal")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise TarError("a size that is no number")
    return int(text)


def _name(block: bytes) -> str:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""  # other fields in GNU's format
    name = _text(block[:100])
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _records(body: bytes) -> dict[str, str]:
    """The keywords `path` and `size` of pax records `LENGTH KEY=VALUE\\n`, where LENGTH counts the whole record."""
    records = {}
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 20)
        length = _decimal(body[start:space].decode("latin-1")) if space > start else 0
        record = body[space + 1 : start + length]
        key, equals, value = record.partition(b"=")
        # A length of 0 would read the same record again, for ever.
        if not length or not equals or start + length > len(body) or not record.endswith(b"\n"):
            raise TarError("an extended header that is no list of records")
        if key.startswith(b"GNU.sparse"):
            raise TarError("a sparse member")
        if key in (b"path", b"size"):
            records[key.decode()] = value[:-1].decode("utf-8", "replace")
        start += length
    return records
