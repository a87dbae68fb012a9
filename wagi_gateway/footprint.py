"""What all guests together may use of memory, and whether there is so much of it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ByteSize

from .cgroup import Bound
from .config.settings import Config, Limits
from .config.values import as_written
from .errors import Problem


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
