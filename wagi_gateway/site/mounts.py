"""Mounts: where a path is on its filesystem, so that bind mounts of one directory are found to be the same."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOUNTINFO = "/proc/self/mountinfo"
_MAX_LINKS = 40
"""Symbolic links of one path that the kernel follows (path_resolution(7))."""


class Location(NamedTuple):
    """A path on a filesystem, whatever it is mounted on."""

    device: str
    """`major:minor` of the filesystem; empty if the mount is not known."""
    path: Path

    def above(self) -> Iterator[Location]:
        """The directories that hold it, the nearest first."""
        return (Location(self.device, path) for path in self.path.parents)


class _Mount(NamedTuple):
    number: str
    parent: str
    root: Location
    """What is mounted."""
    point: Path


class Mounts:
    """The mounts of this process at the time of construction (proc_pid_mountinfo(5))."""

    def __init__(self, mountinfo: str | None = None) -> None:
        """`mountinfo` is the text of the file in /proc, which is read without it."""
        self._mounts = [_parse(line) for line in (_read() if mountinfo is None else mountinfo).splitlines()]
        numbers = {mount.number for mount in self._mounts}
        self._roots = [mount for mount in self._mounts if mount.parent not in numbers or mount.parent == mount.number]

    def location(self, path: Path) -> Location:
        """The location of an absolute path without symbolic links, which need not exist."""
        mount, candidates = None, self._roots
        # As the kernel walks: the outermost mount point first, then the mounts on what is mounted there.
        while over := [one for one in candidates if path.is_relative_to(one.point)]:
            mount = min(over, key=lambda one: len(one.point.parts))
            candidates = [one for one in self._mounts if one.parent == mount.number and one is not mount]
        if mount is None:
            return Location("", path)
        return Location(mount.root.device, mount.root.path / path.relative_to(mount.point))

    def trees(self, directory: Path) -> list[Location]:
        """The location of a directory, and of everything that is mounted inside of it."""
        inside = [one.root for one in self._mounts if one.point != directory and one.point.is_relative_to(directory)]
        return [self.location(directory), *inside]


def places(path: Path) -> list[Path]:
    """The real path of `path`, after those of the symbolic links on the way, and of directories that `..` leaves.

    Whoever changes one of them changes what `path` leads to. Paths need not exist.
    """
    left: list[Path] = []
    current, pending, links = Path("/"), list(reversed(path.absolute().parts[1:])), 0
    while pending:
        name = pending.pop()
        if name == "..":
            left.append(current)
            current = current.parent
            continue
        try:
            target = Path(os.readlink(current / name))
        except (OSError, ValueError):
            current /= name
            continue
        links += 1
        if links > _MAX_LINKS:
            break
        left.append(current / name)
        if target.is_absolute():
            current = Path("/")
        pending += reversed([part for part in target.parts if part != "/"])
    return [*left, current]


def _read() -> str:
    try:
        with open(_MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _parse(line: str) -> _Mount:
    number, parent, device, root, point, *_ = map(_unescape, line.split(" "))
    return _Mount(number, parent, Location(device, Path(root)), Path(point))


def _unescape(text: str) -> str:
    r"""Replaces the octal escapes of space, tab, line feed and backslash, such as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
