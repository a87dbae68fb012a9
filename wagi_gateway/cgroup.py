"""The bound on memory that a control group sets: beyond it the kernel kills a process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a control group and all below it may use together."""

    size: int
    """Bytes."""
    file: Path
    """Where that stands."""


def memory_bound(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Bound | None:
    """The tightest bound on the memory of this process, of its own control group or one around it; None if there is
    none, or nothing can be known of it. See cgroups(7)."""
    bounds = [bound for file in _files(membership, mount) if (bound := _read(file))]
    return min(bounds, key=lambda bound: bound.size, default=None)


def _files(membership: Path, mount: Path) -> Iterator[Path]:
    """`0::/a/b` is the group in version 2, `4:memory:/a/b` the one in version 1."""
    try:
        lines = membership.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield from _upwards(mount, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upwards(mount / "memory", group, "memory.limit_in_bytes")


def _upwards(mount: Path, group: str, name: str) -> Iterator[Path]:
    """In a container the groups around it are not there, or the group is above what is (`/../a`)."""
    path = PurePosixPath(group.lstrip("/"))
    inside = PurePosixPath() if ".." in path.parts else path
    return (mount / part / name for part in (inside, *inside.parents))


def _read(file: Path) -> Bound | None:
    try:
        return Bound(int(file.read_text()), file)
    except (OSError, ValueError):  # not there, or "max"
        return None
