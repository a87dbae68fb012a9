"""Opening a directory beneath another one: no symbolic link and no `..` leads out.

openat2(2) with RESOLVE_BENEATH does so in the kernel, but Python does not offer it, and container runtimes refuse it.
"""

from __future__ import annotations

import errno
import os

_MAX_LINKS = 40
"""Symbolic links that one path may lead through (MAXSYMLINKS of Linux)."""
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory_beneath(root: bytes, path: bytes) -> int:
    """Opens the directory at `path`, relative to the directory at `root`, for reading. Raises OSError."""
    names: list[bytes] = []
    left = [*reversed(path.split(b"/"))]
    links = 0
    current = os.open(root, _FLAGS & ~os.O_NOFOLLOW)
    try:
        while left:
            name = left.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not names:
                    raise PermissionError(errno.EPERM, "the path leads out of the volume")
                left += [*reversed(names[:-1])]
                names = []
                current = _replace(current, root, _FLAGS & ~os.O_NOFOLLOW)
                continue
            try:
                current = _replace(current, name, _FLAGS, relative=True)
                names.append(name)
            except OSError:
                target = os.readlink(name, dir_fd=current)
                links += 1
                if links > _MAX_LINKS or target.startswith(b"/"):
                    raise PermissionError(errno.EPERM, "the path leads out of the volume") from None
                left += reversed(target.split(b"/"))
    except BaseException:
        os.close(current)
        raise
    return current


def _replace(current: int, path: bytes, flags: int, *, relative: bool = False) -> int:
    """Opens another directory in the place of `current`, which stays open where that fails."""
    opened = os.open(path, flags, dir_fd=current if relative else None)
    os.close(current)
    return opened
