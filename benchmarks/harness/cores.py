"""Which cores the server has and which the load, so that neither takes time from the other."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_AVAILABLE = sorted(os.sched_getaffinity(0))

ALL = frozenset(_AVAILABLE)
SERVER = frozenset(_AVAILABLE[:1])
"""The core of everything that is measured."""
TWO = frozenset(_AVAILABLE[:2])
"""The cores of two workers."""
LOAD = frozenset(_AVAILABLE[-1:])
"""The core of what drives it: shared with the second worker only where there are no more than two."""


def check() -> None:
    """Ends the program where there is only one core."""
    if len(ALL) < 2:
        sys.exit("benchmarks: two cores are needed, one for the server and one for the load")


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """This process on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
