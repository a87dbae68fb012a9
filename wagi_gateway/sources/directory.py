"""A private directory, whose files only this user or root can have changed."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock

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
        try:
            for folder in (*reversed(path.parents), path):  # `parents=True` would apply the umask's mode
                folder.mkdir(mode=0o700, exist_ok=True)
            status = path.lstat()
        except OSError as error:
            raise DirectoryRefused(f"{path} cannot be made a directory: {error.strerror}") from None
        if stat.S_ISLNK(status.st_mode):
            raise DirectoryRefused(f"{path} is a symbolic link; name the directory itself")
        if not stat.S_ISDIR(status.st_mode):
            raise DirectoryRefused(f"{path} is not a directory; choose another one")
        if reason := unsafe(status):
            raise DirectoryRefused(f"{path} {reason}; choose a directory of your own, with mode 0700")

    def read(self, name: str, limit: int) -> bytes | None:
        """Reads a file; None if it is missing, unsafe, unreadable or larger than `limit` bytes."""
        try:
            handle = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
            os.utime(self.path / name)

    def used(self, name: str) -> float:
        """The time of a file's last use, by `time.time()`; 0 for a missing file."""
        try:
            return (self.path / name).lstat().st_mtime
        except OSError:
            return 0.0

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None for a missing file."""
        try:
            return (self.path / name).lstat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Removes a file, if it exists. Raises OSError."""
        (self.path / name).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """The names of a folder's files, without temporary ones, for the other methods."""
        try:
            yield from (f"{folder}/{name}" for name in sorted(os.listdir(self.path / folder)) if name[0] != ".")
        except OSError:
            return

    def remove_stale(self, folder: str) -> None:
        """Removes the temporary and lock files that dead processes have left in a folder. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path / folder):
                is_left_over = name.startswith(_TEMPORARY) or name.endswith(".lock")
                if is_left_over and self.used(f"{folder}/{name}") < time.time() - STALE:
                    self.remove(f"{folder}/{name}")

    def _writable_path(self, name: str) -> Path:
        """The path of a file to write; creates its folders, which may have been deleted meanwhile."""
        for folder in reversed(Path(name).parents):
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        return self.path / name


def unsafe(status: os.stat_result) -> str | None:
    """Why another user may have changed a file, or None."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None
