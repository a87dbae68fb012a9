"""How the system's allocator keeps memory that was freed: glibc's own words, and nothing where another one is used."""

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


def bound_arenas() -> None:
    """One arena for each processor, for all threads together, unless the operator has bounded them (mallopt(3)).

    glibc would have eight for each processor, and every thread that compiles a module or makes a call fills another one
    with megabytes that nobody uses later: memory grows for half an hour under steady load. Called before modules are
    compiled: arenas that there are stay.
    """
    is_bounded = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if (mallopt := getattr(_libc, "mallopt", None)) and not is_bounded:
        mallopt(_M_ARENA_MAX, max(2, len(os.sched_getaffinity(0))))


def give_back() -> None:
    """Returns to the system what is free: a site that was replaced leaves megabytes in holes of the heap, which glibc
    keeps."""
    if trim := getattr(_libc, "malloc_trim", None):
        trim(ctypes.c_size_t(0))


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


def worst_case(config: Config, workers: int) -> int:
    """Bytes that the linear memories of all guests have when as many run as may, those that may grow largest first.

    Each worker has `server.concurrency` sandboxes, of which a `[[module]]` has at most its `limits.concurrency`.
    """
    free, total = config.server.concurrency, 0
    for limits in sorted((module.limits for module in config.module), key=_size, reverse=True):
        count = min(free, limits.concurrency)
        free -= count
        total += count * _size(limits)
    return total * workers


def check_memory(config: Config, workers: int, bound: Bound | None) -> Iterator[Problem]:
    """A warning where the guests of `workers` processes may use more than the bound, if there is one."""
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
