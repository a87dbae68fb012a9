"""Bounds on time that also hold on a busy machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tests.conftest import wait_until

_BURST = 0.05
"""Seconds of processor time of the reference computation."""


def slowdown() -> float:
    """How much longer a computation takes than on an idle machine, now or in the last minute; at least 1.0."""
    begin, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < _BURST:
        pass
    now = (time.perf_counter() - begin) / (time.thread_time() - used)
    # What kept the processors busy may have ended since: it has its share of the load of the last minute, in which
    # processes of a lower priority count, too.
    return max(1.0, now, min(os.getloadavg()[0] / (os.cpu_count() or 1), 2.0))


def assert_within(seconds: float, bound: float) -> None:
    """Fails if an operation that has just taken `seconds` would take longer than `bound` on an idle machine.

    A busy machine makes each wait of an operation longer, not only its computation, so `seconds` may be longer by three
    times the slowdown.
    """
    if seconds >= bound:
        factor = 1 + 3 * (slowdown() - 1)
        assert seconds < bound * factor, f"{seconds:.3f} s in the place of {bound} s, on a machine slower by {factor}"


def assert_soon(condition: Callable[[], bool], bound: float) -> None:
    """Waits until `condition` holds; fails after more than `bound`, in the sense of `assert_within`."""
    begin = time.monotonic()
    wait_until(condition, 10 * bound)
    assert_within(time.monotonic() - begin, bound)
