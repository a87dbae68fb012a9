"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own


def give_back() -> None:
    """Returns what the allocator keeps for later.

    Every thread that compiles does so in an arena of its own, and glibc has eight for each processor: with a reload now
    and then, each would come to hold some megabytes that nobody uses.
    """
    if _trim:
        _trim(0)
