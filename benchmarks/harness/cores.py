"""CPU affinity: separate cores for the server and the load."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_AVAILABLE = sorted(os.sched_getaffinity(0))

ALL = frozenset(_AVAILABLE)
SERVER = frozenset(_AVAILABLE[:1])
"""The core of the measured server."""
TWO = frozenset(_AVAILABLE[:2])
"""The cores of two workers."""
LOAD = frozenset(_AVAILABLE[-1:])
"""The core of the load generator; on a machine with two cores also that of a second worker."""


def check() -> None:
    """Exits with a message on a machine with one core."""
    if len(ALL) < 2:
        sys.exit("benchmarks: two cores are needed, one for the server and one for the load")


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Binds this process to `cores` for the time of the context."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
