"""A directory on disk that nobody but its owner can have changed."""

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
"""Seconds after which a temporary or lock file belongs to a process that is gone; no write takes as long."""

_NEW = ".new-"


class DirectoryRefused(Exception):
    """The directory cannot be used; the text says why and what to do."""


class PrivateDirectory:
    """Files that are written all at once, and read only if this user or root has written them.

    It may be read-only, and root's: a container image can bring a directory that is filled.
    """

    def __init__(self, path: Path) -> None:
        """Makes the directory if need be. Raises DirectoryRefused."""
        self.path = path
        try:
            for folder in (*reversed(path.parents), path):  # `parents=True` would leave their mode to the umask
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
        """A file's content; None without a file that may be trusted, or if it has more than `limit` bytes."""
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
        """Writes a file; a reader sees all of it or what was there before. Raises OSError."""
        path = self._place(name)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
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
        """Held by one thread of one process. Acquiring it raises OSError, filelock.Timeout after `timeout` seconds."""
        return FileLock(self._place(name), timeout=timeout, mode=0o600)

    def touch(self, name: str) -> None:
        """Notes that a file was used now, if that can be noted."""
        with contextlib.suppress(OSError):
            os.utime(self.path / name)

    def used(self, name: str) -> float:
        """When a file was used last, as `time.time()` has it; 0 for one that is gone."""
        try:
            return (self.path / name).lstat().st_mtime
        except OSError:
            return 0.0

    def size(self, name: str) -> int | None:
        """How many bytes a file has."""
        try:
            return (self.path / name).lstat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Removes a file that may be gone already. Raises OSError."""
        (self.path / name).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """The files of a folder, as names for the other methods; temporary ones are left out."""
        try:
            yield from (f"{folder}/{name}" for name in sorted(os.listdir(self.path / folder)) if name[0] != ".")
        except OSError:
            return

    def remove_stale(self, folder: str) -> None:
        """Removes what processes that are gone have left in a folder: temporary files and locks. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path / folder):
                is_left_over = name.startswith(_NEW) or name.endswith(".lock")
                if is_left_over and self.used(f"{folder}/{name}") < time.time() - STALE:
                    self.remove(f"{folder}/{name}")

    def _place(self, name: str) -> Path:
        """Where a file goes; its folders are made, since they may have been deleted meanwhile."""
        for folder in reversed(Path(name).parents):
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        return self.path / name


def unsafe(status: os.stat_result) -> str | None:
    """Why somebody other than this user or root may have changed a file."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None
