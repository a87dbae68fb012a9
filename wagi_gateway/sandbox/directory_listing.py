"""The entries of a directory, read one by one and addressed by WASI's cookies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

_UNKNOWN, _DIRECTORY, _REGULAR_FILE, _SYMBOLIC_LINK = 0, 3, 4, 7
_ENTRIES_PER_CALL = 64
"""Entries that count as one host call."""


class DirectoryEntry(NamedTuple):
    """An entry with WASI's file type."""

    name: bytes
    inode: int
    type: int


class DirectoryListing:
    """The entries of one directory, `.` and `..` first; an entry's cookie is the number of the entry before it."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is closed by `close`. Raises OSError."""
        self._descriptor = descriptor
        self._next = 0
        self._pending: DirectoryEntry | None = None
        self._entries = self._read()

    def entry(self, cookie: int, on_progress: Callable[[], None]) -> DirectoryEntry | None:
        """The entry after a cookie; None at the end. `on_progress` is called now and then. Raises OSError."""
        if cookie == self._next - 1 and self._pending:
            return self._pending
        if cookie < self._next:
            self._entries, self._next = self._read(), 0
        self._pending = None
        while self._next <= cookie:
            self._pending = next(self._entries, None)
            if self._pending is None:
                return None
            self._next += 1
            if self._next % _ENTRIES_PER_CALL == 0:
                on_progress()
        return self._pending

    def close(self) -> None:
        """Closes the directory."""
        os.close(self._descriptor)

    def _read(self) -> Iterator[DirectoryEntry]:
        inode = os.fstat(self._descriptor).st_ino
        yield DirectoryEntry(b".", inode, _DIRECTORY)
        yield DirectoryEntry(b"..", inode, _DIRECTORY)  # the parent may lie outside of the volume
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                yield DirectoryEntry(os.fsencode(entry.name), entry.inode(), _type(entry))


def _type(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_symlink():
            return _SYMBOLIC_LINK
        if entry.is_dir(follow_symlinks=False):
            return _DIRECTORY
        return _REGULAR_FILE if entry.is_file(follow_symlinks=False) else _UNKNOWN
    except OSError:  # removed meanwhile, on a file system that does not give the types
        return _UNKNOWN
