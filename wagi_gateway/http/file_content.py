"""What the bytes of a file decide: its entity tag (RFC 9110 section 8.8.3) and the charset of its media type."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

MAX_READ = 4 * 2**20
"""Largest file in bytes whose content is read for its entity tag and charset."""

_PIECE = 64 * 1024
_PRESCAN = 1024
"""Bytes at the start of a file in which a charset is declared, as HTML has it."""
_MAX_CACHED = 4096
_SETTLED = 3 * 10**9
"""Nanoseconds after which another change of a file has another timestamp, on file systems with whole seconds too."""
_TICK = 10**8
"""The same on usual file systems, whose clock has ticks of 1 to 10 milliseconds."""

_DECLARATIONS = {
    "text/html": re.compile(rb"<meta[^>]*?[\s\"';]charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE),
    "text/css": re.compile(rb'\A@charset "([^"]*)"'),
    "text/xml": re.compile(rb"\A<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"']*)"),
}
"""How a file declares its charset in itself, by media type."""


class FileContent(NamedTuple):
    """An entity tag, and whether the content is UTF-8."""

    etag: str
    is_utf8: bool
    """False for a file that is too large to be read, too."""


class FileContents:
    """The contents of files, kept as long as their inode, size and timestamps stay. May be used by several threads."""

    def __init__(self) -> None:
        self._cached: dict[tuple[object, ...], FileContent] = {}

    def describe(self, descriptor: int, status: os.stat_result, media_type: str) -> FileContent:
        """The content of an open file with this status.

        The entity tag of a file up to MAX_READ comes from its modification time and its bytes: replicas with the same
        image agree, and other bytes have another tag although size and modification time are equal. The tag of a larger
        file comes from its inode, size and timestamps, ctime among them. Raises OSError.
        """
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        age = time.time_ns() - status.st_ctime_ns
        if status.st_size > MAX_READ:
            # Another change within the same tick leaves the timestamps as they are.
            salt = time.time_ns() if age < _TICK else 0
            return FileContent(_etag(hashlib.blake2b(repr((*identity, salt)).encode(), digest_size=16)), False)
        key = (*identity, media_type)
        content = self._cached.get(key)
        if content is None:
            content = _read(descriptor, status.st_mtime_ns, media_type)
            if age > _SETTLED:
                if len(self._cached) >= _MAX_CACHED:
                    self._cached.clear()
                self._cached[key] = content
        return content


def _read(descriptor: int, modified: int, media_type: str) -> FileContent:
    digest = hashlib.blake2b(b"%d\n" % modified, digest_size=16)
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    for offset, piece in _pieces(descriptor):
        digest.update(piece)
        is_utf8 = is_utf8 and not (offset == 0 and _declares_another(piece, media_type)) and _continues(decoder, piece)
    return FileContent(_etag(digest), is_utf8 and _continues(decoder, b"", is_last=True))


def _pieces(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """The offsets and bytes of a file, which may grow meanwhile, up to MAX_READ."""
    offset = 0
    while offset < MAX_READ and (piece := os.pread(descriptor, _PIECE, offset)):
        yield offset, piece
        offset += len(piece)


def _continues(decoder: codecs.IncrementalDecoder, piece: bytes, *, is_last: bool = False) -> bool:
    """Whether a piece continues text in UTF-8. NUL is a sign of UTF-16 and UTF-32, ESC of ISO 2022."""
    if b"\0" in piece or b"\x1b" in piece:
        return False
    try:
        decoder.decode(piece, is_last)
    except UnicodeDecodeError:
        return False
    return True


def _declares_another(start: bytes, media_type: str) -> bool:
    """Whether the start of a file without a byte order mark declares another charset than UTF-8."""
    declaration = _DECLARATIONS.get(media_type)
    if declaration is None or start.startswith(codecs.BOM_UTF8):
        return False
    found = declaration.search(start[:_PRESCAN])
    return found is not None and found[1].lower() not in (b"utf-8", b"utf8")


def _etag(digest: hashlib.blake2b) -> str:
    return f'"{digest.hexdigest()}"'
