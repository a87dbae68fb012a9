"""A private directory, whose files only this user or root can have changed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock

from .directory_chain import ChainRefused, open_chain, unsafe

STALE = 3600.0
"""Seconds after which a temporary or lock file belongs to a dead process; no write takes as long."""

_TEMPORARY = ".new-"


class DirectoryRefused(Exception):
    """The directory cannot be used; the message says why and what to do."""


class PrivateDirectory:
    """A directory of files that are written atomically, and read only if this user or root owns them.

    The directory may be read-only and root's: a container image can bring a filled one.
    """

    def __init__(self, path: Path) -> None:
        """Creates the directory unless it exists. Raises DirectoryRefused."""
        self.path = path
        self._open()

    @property
    def open_path(self) -> Path:
        """The path, in /proc, of the directory that was judged and is kept open, whatever has its name meanwhile."""
        return self._open_path

    def read(self, name: str, limit: int) -> bytes | None:
        """Reads a file; None if it is missing, unsafe, unreadable or larger than `limit` bytes."""
        try:
            handle = os.open(self._open_path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or unsafe(status) or status.st_size > limit:
                return None
            with open(handle, "rb", closefd=False) as file:
                return file.read(limit)
        except OSError:
            return None
        finally:
            os.close(handle)

    def write(self, name: str, data: bytes | bytearray) -> None:
        """Writes a file atomically. Raises OSError."""
        path = self._writable_path(name)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def lock(self, name: str, timeout: float) -> BaseFileLock:
        """A lock between threads and processes; acquiring it raises OSError, or filelock.Timeout after `timeout`
        seconds."""
        return FileLock(self._writable_path(name), timeout=timeout, mode=0o600)

    def touch(self, name: str) -> None:
        """Marks a file as used now, if it can be written."""
        with contextlib.suppress(OSError):
            os.utime(self._open_path / name)

    def used(self, name: str) -> float:
        """The time of a file's last use, by `time.time()`; 0 for a missing file."""
        try:
            return (self._open_path / name).lstat().st_mtime
        except OSError:
            return 0.0

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None for a missing file."""
        try:
            return (self._open_path / name).lstat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Removes a file, if it exists. Raises OSError."""
        (self._open_path / name).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """The names of a folder's files, without temporary ones, for the other methods."""
        try:
            yield from (f"{folder}/{name}" for name in sorted(os.listdir(self._open_path / folder)) if name[0] != ".")
        except OSError:
            return

    def remove_stale(self, folder: str) -> None:
        """Removes the temporary and lock files that dead processes have left in a folder. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._open_path / folder):
                is_left_over = name.startswith(_TEMPORARY) or name.endswith(".lock")
                if is_left_over and self.used(f"{folder}/{name}") < time.time() - STALE:
                    self.remove(f"{folder}/{name}")

    def _writable_path(self, name: str) -> Path:
        """The path of a file to write; creates its folders, which may have been deleted meanwhile. Raises OSError."""
        if os.stat(self._open_path).st_nlink == 0:
            try:
                self._open()
            except DirectoryRefused as refused:
                raise OSError(errno.EACCES, str(refused)) from None
        for folder in list(reversed(Path(name).parents))[1:]:
            (self._open_path / folder).mkdir(mode=0o700, exist_ok=True)
        return self._open_path / name

    def _open(self) -> None:
        try:
            descriptor = open_chain(self.path)
        except ChainRefused as refused:
            raise DirectoryRefused(str(refused)) from None
        except OSError as error:
            raise DirectoryRefused(f"{self.path} cannot be made a directory: {error.strerror}") from None
        weakref.finalize(self, os.close, descriptor)
        self._open_path = Path(f"/proc/self/fd/{descriptor}")
