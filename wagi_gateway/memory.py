"""How the system's allocator keeps memory that was freed: glibc's own words, and nothing where another one is used."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # malloc.h
_libc = ctypes.CDLL(None)


def bound_arenas() -> None:
    """One arena for each processor, for all threads together: called before there are any.

    glibc would have eight for each processor, and every thread that compiles a module or makes a call fills another one
    with megabytes that nobody uses later: memory grows for half an hour under steady load.
    """
    if mallopt := getattr(_libc, "mallopt", None):
        mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))


def give_back() -> None:
    """Returns to the system what is kept for later."""
    if trim := getattr(_libc, "malloc_trim", None):
        trim(0)
