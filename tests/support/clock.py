"""Bounds on time that hold on a busy machine too."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.conftest import wait_until

_BURST = 0.05
"""Seconds of processor time of the computation that is compared with."""


def slowdown() -> float:
    """How many times its processor time a computation takes at present; 1.0 on a machine that does nothing else."""
    begin, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < _BURST:
        pass
    return max(1.0, (time.perf_counter() - begin) / (time.thread_time() - used))


def assert_within(seconds: float, bound: float) -> None:
    """Fails if an operation that has just taken `seconds` was slower than `bound`, as an idle machine would take it.

    A machine that other processes hold makes each of the operation's waits longer, not its computation alone: three
    times the slowdown is what `seconds` may grow by.
    """
    if seconds >= bound:
        factor = 1 + 3 * (slowdown() - 1)
        assert seconds < bound * factor, f"{seconds:.3f} s in the place of {bound} s, on a machine slower by {factor}"


def assert_soon(condition: Callable[[], bool], bound: float) -> None:
    """Waits until `condition` holds, and fails if that takes longer than `bound` in the sense of `assert_within`."""
    begin = time.monotonic()
    wait_until(condition, 10 * bound)
    assert_within(time.monotonic() - begin, bound)
