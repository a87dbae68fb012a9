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
    """Opens the directory at `path`, relative to the directory at `root`, for reading. Raises OSError."""
    left = [*reversed(path.split(b"/"))]
    links = names = 0
    above = [os.open(root, _PASS)]
    try:
        while left:
            names += 1
            name = left.pop()
            if names > _MAX_NAMES:
                raise OSError(errno.ELOOP, "the path leads through too many names")
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(above) == 1:
                    raise PermissionError(errno.EPERM, "the path leads out of the volume")
                os.close(above.pop())
                continue
            try:
                above.append(os.open(name, _PASS | os.O_NOFOLLOW, dir_fd=above[-1]))
            except NotADirectoryError:  # a symbolic link, or a file
                target = os.readlink(name, dir_fd=above[-1])
                links += 1
                if links > _MAX_LINKS or target.startswith(b"/"):
                    raise PermissionError(errno.EPERM, "the path leads out of the volume") from None
                left += reversed(target.split(b"/"))
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above[-1])
    finally:
        for descriptor in above:
            os.close(descriptor)
