"""The temporary directory of one request: bounded in size, and removed with whatever the guest left in it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import time

from ..config.settings import TEMPORARY_VOLUME
from ..errors import AtCapacity
from ..sandbox.guest import Guest
from ..sandbox.invocation import GuestVolume
from ..site.temporary import TemporaryDirectory

_INTERVAL = 0.1
"""Seconds between two measurements of a directory."""
_NAME_SIZE = 4096
"""Bytes that each file or directory counts for beside its content."""
_DESCRIPTORS = "/proc/self/fd"


class RequestDirectory:
    """The directory TMPDIR of one guest, which no other guest sees. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes. Raises AtCapacity for a directory that cannot be made."""
        try:
            self._directory = TemporaryDirectory()
        except OSError as error:
            raise AtCapacity(f"no temporary directory can be made: {error.strerror}", limit="descriptors") from None
        self._limit = limit
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def volume(self) -> GuestVolume:
        """The directory as a volume of the guest."""
        return GuestVolume(self._directory.name.encode(), TEMPORARY_VOLUME.encode(), True)

    def watch(self, guest: Guest) -> None:
        """Stops the guest once its files are larger than the limit; a guest that ends within the first interval is not
        measured."""
        self._timer = self._loop.call_later(_INTERVAL, self._measure, guest)

    def close(self) -> None:
        """Removes the directory: at once if it is empty, else on another thread."""
        self._is_closed = True
        if self._timer:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            os.rmdir(self._directory.name)
            self._directory.forget()
            return
        self._loop.run_in_executor(None, self._directory.cleanup)

    def _measure(self, guest: Guest) -> None:
        """Measures on another thread: tens of thousands of files take longer than a turn of the event loop may."""
        size = self._loop.run_in_executor(None, size_of, self._directory.name, self._limit)
        size.add_done_callback(functools.partial(self._compare, guest))

    def _compare(self, guest: Guest, size: asyncio.Future[int]) -> None:
        if self._is_closed or size.cancelled():
            return
        if size.result() > self._limit:
            guest.stop("temporary")
        else:
            self.watch(guest)


def size_of(path: str, limit: int) -> int:
    """The size of all files below a directory in bytes, or any size beyond `limit`: the search ends there.

    Files without a name count while they are open. A path that is longer than PATH_MAX is beyond every limit: nothing
    that it leads to can be measured.
    """
    size, pending = _unlinked_size(path), [path]
    while pending and size <= limit:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    size += _NAME_SIZE
                    if size > limit:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        size += _blocks(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return limit + 1
    return size


def _blocks(path: str) -> int:
    """The size of a file in bytes of its disk, 0 for one that was removed. Raises OSError."""
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def _unlinked_size(path: str) -> int:
    """The size of the files below a directory that were removed and are still open."""
    inside = os.path.realpath(path) + "/"
    return sum(size for name, size in _unlinked(int(time.monotonic() / _INTERVAL)) if name.startswith(inside))


@functools.lru_cache(maxsize=1)
def _unlinked(_interval: int) -> list[tuple[str, int]]:
    """The path and size of each file that this process has open without a name, found once in an interval."""
    found = []
    for descriptor in os.listdir(_DESCRIPTORS):
        with contextlib.suppress(OSError):  # closed meanwhile
            name = os.readlink(f"{_DESCRIPTORS}/{descriptor}")
            if name.endswith(" (deleted)"):  # proc_pid_fd(5)
                found.append((name, os.stat(f"{_DESCRIPTORS}/{descriptor}").st_blocks * 512))
    return found
