"""Temporary directories: created for volumes, and removed with whatever guests left in them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
import weakref
from typing import NamedTuple

logger = logging.getLogger("wagi_gateway")

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TemporaryDirectory:
    """A new directory, which is removed by `cleanup`, or at the end of the process.

    tempfile.TemporaryDirectory removes by recursion: a thousand nested directories end it with a RecursionError.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self.name = tempfile.mkdtemp(prefix="wagi-gateway-")
        self._finalizer = weakref.finalize(self, _remove, self.name)

    def cleanup(self) -> None:
        """Removes the directory; a failure is logged. May be called twice."""
        self._finalizer()

    def forget(self) -> None:
        """Gives up the directory, which its owner has removed."""
        self._finalizer.detach()


def _remove(path: str) -> None:
    failure: Exception | None
    try:
        failure = remove_tree(path)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller has others to remove
        failure = error
    if failure:
        logger.warning("the temporary directory %s cannot be removed: %s", path, failure)


def remove_tree(path: str) -> OSError | None:
    """Removes a directory with all it holds, except for what cannot be removed. Returns the first failure.

    Takes no recursion, three descriptors, and no path of more than one name: it goes up by `..`.
    """
    failures: list[OSError] = []
    attempt = _Attempt(failures)
    with attempt:
        _empty(path, attempt)
        os.rmdir(path)
    return failures[0] if failures else None


class _Level(NamedTuple):
    """A directory that is being emptied."""

    name: str
    identity: tuple[int, int]
    """Device and inode: what `..` leads to has to be the same directory."""
    inner: list[str]
    """The directories in it that are not removed yet."""


def _empty(path: str, attempt: _Attempt) -> None:
    """Removes what a directory holds, depth first. Raises OSError where it cannot go on."""
    current = _open_directory(path)
    try:
        levels = [_enter(path, current, attempt)]
        while True:
            name, _, inner = levels[-1]
            if inner:
                child = inner.pop()
                with attempt:
                    descriptor = _open_directory(child, current)
                    os.close(current)
                    current = descriptor
                    levels.append(_enter(child, current, attempt))
            elif len(levels) > 1:
                levels.pop()
                descriptor = os.open("..", _OPEN, dir_fd=current)
                os.close(current)
                current = descriptor
                if _identity(current) != levels[-1].identity:
                    raise OSError(errno.ESTALE, "a directory was moved while it was removed")
                with attempt:
                    os.rmdir(name, dir_fd=current)
            else:
                return
    finally:
        os.close(current)


def _enter(name: str, descriptor: int, attempt: _Attempt) -> _Level:
    """Removes everything but directories from a directory."""
    inner: list[str] = []
    level = _Level(name, _identity(descriptor), inner)
    with attempt, os.scandir(descriptor) as entries:
        for entry in entries:
            with attempt:
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=descriptor)
    return level


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


class _Attempt:
    """Collects the first OSError of its blocks, and suppresses all. What is gone already is no error."""

    def __init__(self, failures: list[OSError]) -> None:
        self._failures = failures

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and not self._failures:
            self._failures.append(error.with_traceback(None))
        return isinstance(error, OSError)


def _open_directory(name: str, parent: int | None = None) -> int:
    """Opens a directory, and gives its owner all rights to it: by descriptor, because what has the name might become
    a symbolic link to elsewhere."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        path = os.open(name, _OPEN_PATH, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{path}", stat.S_IRWXU)
        finally:
            os.close(path)
        return os.open(name, _OPEN, dir_fd=parent)
    if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(OSError):  # of another owner: removing what it holds may fail, and says why
            os.fchmod(descriptor, stat.S_IRWXU)
    return descriptor
