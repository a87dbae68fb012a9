"""How the system's allocator keeps memory that was freed: glibc's own words, and nothing where another one is used."""

from __future__ import annotations

import ctypes
import os

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
