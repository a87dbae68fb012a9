"""Opening a directory beneath another one: no symbolic link and no `..` leads out.

openat2(2) with RESOLVE_BENEATH does so in the kernel, but Python does not offer it, and container runtimes refuse it.
"""

from __future__ import annotations

import errno
import os

_MAX_LINKS = 40
"""Symbolic links that one path may lead through (MAXSYMLINKS of Linux)."""
_MAX_NAMES = 4096
"""Names that one path may lead through, those of its links included; each costs a system call."""
_PASS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_directory_beneath(root: bytes, path: bytes) -> int:
    """Opens the directory at `path`, relative to the directory at `root`, for reading. Raises OSError.

    Takes two descriptors, however deep the path is.
    """
    left = [*reversed(path.split(b"/"))]
    inside: list[bytes] = []
    """The names from `root` to `current`."""
    links = names = 0
    current = os.open(root, _PASS)
    try:
        while left:
            names += 1
            name = left.pop()
            if names > _MAX_NAMES:
                raise OSError(errno.ELOOP, "the path leads through too many names")
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not inside:
                    raise PermissionError(errno.EPERM, "the path leads out of the volume")
                # From the root again: the `..` of a directory that is moved meanwhile may be outside.
                left += reversed(inside[:-1])
                inside.clear()
                current = _exchange(current, os.open(root, _PASS))
                continue
            try:
                current = _exchange(current, os.open(name, _PASS | os.O_NOFOLLOW, dir_fd=current))
                inside.append(name)
            except NotADirectoryError:  # a symbolic link, or a file
                target = os.readlink(name, dir_fd=current)
                links += 1
                if links > _MAX_LINKS or target.startswith(b"/"):
                    raise PermissionError(errno.EPERM, "the path leads out of the volume") from None
                left += reversed(target.split(b"/"))
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new
