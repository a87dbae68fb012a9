"""Memory of the process: glibc's arenas, the bound of its control group, and the worst case of all guests.

The allocator is tuned so that steady load does not let memory grow. The worst case of the guests is compared with the
bound, which the kernel enforces by killing the server.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ByteSize

from .config.settings import Config, Limits
from .config.values import as_written
from .errors import Problem

_M_ARENA_MAX = -8  # malloc.h
_libc = ctypes.CDLL(None)


# Arenas of the allocator (glibc; other allocators are left alone)


def bound_arenas() -> None:
    """Limits malloc to one arena for each processor, unless the environment has a limit (mallopt(3), M_ARENA_MAX).

    glibc's default is eight for each processor. Each thread that compiles a module or makes an outbound call would fill
    an arena of its own with megabytes that stay unused later: memory would grow for half an hour under steady load.
    Called before modules are compiled, because existing arenas stay.
    """
    is_bounded = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if (mallopt := getattr(_libc, "mallopt", None)) and not is_bounded:
        mallopt(_M_ARENA_MAX, max(2, len(os.sched_getaffinity(0))))


def give_back() -> None:
    """Returns free memory to the system (malloc_trim(3)): a replaced site leaves megabytes of holes in the heap."""
    if trim := getattr(_libc, "malloc_trim", None):
        trim(ctypes.c_size_t(0))


# The bound of the control group (cgroups(7))


MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Bound:
    """The memory limit of a control group and its descendants together."""

    size: int
    """Bytes."""
    file: Path
    """The file of the control group that holds the limit."""


def memory_bound(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Bound | None:
    """The lowest memory limit of this process's control group and its ancestors; None without a limit, or if the
    control group's files cannot be read."""
    bounds = [bound for file in _files(membership, mount) if (bound := _read(file))]
    return min(bounds, key=lambda bound: bound.size, default=None)


def _files(membership: Path, mount: Path) -> Iterator[Path]:
    """The limit files of all groups of the process: `0::/a/b` is a group of version 2, `4:memory:/a/b` of version 1."""
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
    """The files of a group and its ancestors. In a container the ancestors may be missing, or the group may lie above
    the mounted hierarchy (`/../a`)."""
    path = PurePosixPath(group.lstrip("/"))
    inside = PurePosixPath() if ".." in path.parts else path
    return (mount / part / name for part in (inside, *inside.parents))


def _read(file: Path) -> Bound | None:
    try:
        return Bound(int(file.read_text()), file)
    except (OSError, ValueError):  # a missing file, or "max"
        return None


# The worst case of all guests


def worst_case(config: Config, workers: int) -> int:
    """Bytes of the linear memories of all guests, when as many guests as possible run, and the largest ones first.

    Each worker runs at most `server.concurrency` guests, and of a `[[module]]` at most `limits.concurrency`.
    """
    free, total = config.server.concurrency, 0
    for limits in sorted((module.limits for module in config.module), key=_size, reverse=True):
        count = min(free, limits.concurrency)
        free -= count
        total += count * _size(limits)
    return total * workers


def check_memory(config: Config, workers: int, bound: Bound | None) -> Iterator[Problem]:
    """Warns if the guests of `workers` processes may use more memory than the bound."""
    guests = worst_case(config, workers)
    if bound is None or guests <= bound.size:
        return
    server = config.server
    first = max(
        config.module, key=lambda module: min(server.concurrency, module.limits.concurrency) * _size(module.limits)
    )
    limits = first.limits
    settings = f"limits.concurrency = {limits.concurrency}, limits.memory = {_written(limits.memory)}"
    if limits.memories > 1:
        settings += f", limits.memories = {limits.memories}"
    what = (
        f"all guests together may use {_written(guests)}, and beyond {_written(bound.size)} ({bound.file}) the kernel"
        f" kills the server; server.workers = {workers}, server.concurrency = {server.concurrency}, and"
        f" {first.route} has the largest part: {settings}; lower one of these, or raise the bound"
    )
    yield Problem("limits.memory", what)


def _size(limits: Limits) -> int:
    return limits.memory * limits.memories


def _written(size: int) -> str:
    return as_written(size, ByteSize)
