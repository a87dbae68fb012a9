"""The WASI function `random_get`, in pieces: wasmtime's own fills a large buffer for seconds without an epoch check.

Source: WASI preview 1, `random_get`.
"""

from __future__ import annotations

import os

from . import errno
from .context import ExecutionContext
from .memory import OutOfBounds

_PIECE = 64 * 1024
_CALLS_PER_PIECE = 32
"""Short host calls that take as long as a piece."""


def random_get(context: ExecutionContext, start: int, size: int) -> int:
    """Fills `size` bytes with random numbers of the kernel."""
    memory = context.memory
    if memory is None:
        return errno.FAULT
    try:
        memory.check(start, size)
    except OutOfBounds:
        return errno.FAULT
    for offset in range(0, size, _PIECE):
        memory.write(start + offset, os.urandom(min(_PIECE, size - offset)))
        context.count_host_calls(_CALLS_PER_PIECE)
    return errno.SUCCESS
