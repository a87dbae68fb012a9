"""A file that processes append whole lines to, and its rotation: `FILE`, and before it `FILE.2`, `FILE.1`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ATTEMPTS = 16
"""Times that a file is opened anew because another process has rotated it meanwhile."""


class Rotation(NamedTuple):
    """When a file is replaced by a new one, and how many are kept."""

    size: int
    """Bytes that a file holds at most, unless one piece of lines is larger."""
    files: int
    """Files that are kept, with the current one."""


def append(path: Path, lines: bytes, rotation: Rotation | None = None) -> int:
    """Appends lines, and returns the bytes of whole lines written: fewer on a full disk. Raises OSError.

    The directories of the file are made if need be. With `rotation` all processes that write use it.
    """
    if rotation is None:
        with _opened(path) as descriptor:
            return _write(descriptor, lines)
    for _ in range(_ATTEMPTS):
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if not _is_current(descriptor, path):
                continue
            if size and size + len(lines) > rotation.size:
                _rotate(path, rotation.files)
                continue
            return _write(descriptor, lines)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def rotated(path: Path) -> list[Path]:
    """The rotated files of a file, the oldest first. Raises OSError, if the directory cannot be read."""
    numbers = [_number(path, entry.name) for entry in os.scandir(path.parent)]
    return [path.with_name(f"{path.name}.{number}") for number in sorted(filter(None, numbers))]


def _number(path: Path, name: str) -> int:
    """The number of a rotated file's name; 0 for another file."""
    suffix = name.removeprefix(f"{path.name}.")
    is_number = suffix != name and suffix.isascii() and suffix.isdigit() and not suffix.startswith("0")
    return int(suffix) if is_number and len(suffix) < 19 else 0


def _rotate(path: Path, files: int) -> None:
    """Renames the file, and removes the oldest ones. The numbers only grow, so that a step of the clock changes no
    order, and a reader knows which file comes next."""
    before = rotated(path)
    newest = _number(path, before[-1].name) if before else 0
    path.rename(path.with_name(f"{path.name}.{newest + 1}"))
    for old in before[: max(len(before) + 2 - files, 0)]:
        old.unlink(missing_ok=True)


def _is_current(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        for folder in reversed(path.parents):  # os.makedirs would use the mode for the last directory alone
            folder.mkdir(mode=0o750, exist_ok=True)
        descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, lines: bytes) -> int:
    written = os.write(descriptor, lines)
    whole = lines.rfind(b"\n", 0, written) + 1
    if whole < written:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size == end:  # else another worker has appended lines since
            os.ftruncate(descriptor, end - (written - whole))
    return whole


def _open(path: Path) -> int:
    # O_NOFOLLOW for the file and its directory, O_NONBLOCK because a FIFO would wait for a reader: a user with write
    # access could plant either. The log directory itself may be a link: systemd creates one for a dynamic user.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path.name, flags, 0o640, dir_fd=folder)
    finally:
        os.close(folder)
