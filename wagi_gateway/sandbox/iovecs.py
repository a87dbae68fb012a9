"""The pieces of a gathered read or write (WASI preview 1, `iovec`, `ciovec`), within bounds."""

from __future__ import annotations

import struct

from .context import ExecutionContext
from .memory import Memory

IOVEC = struct.Struct("<II")
MAX_IOVECS = 1024
_IOVECS_PER_CALL = 16
"""Pieces that take as long as a host call."""


def read_iovecs(context: ExecutionContext, memory: Memory, iovecs: int, count: int) -> list[tuple[int, int]]:
    """Start and size of each piece of memory. Raises OutOfBounds."""
    if count > _IOVECS_PER_CALL:
        context.count_host_calls(count // _IOVECS_PER_CALL)
    memory.check(iovecs, count * IOVEC.size)
    pieces = list(IOVEC.iter_unpack(memory.read(iovecs, count * IOVEC.size)))
    for start, size in pieces:
        if start + size > memory.size:
            memory.check(start, size)
    return pieces
