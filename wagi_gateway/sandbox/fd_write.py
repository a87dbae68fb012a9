"""The WASI function `fd_write` for AssemblyScript: one that writes all iovecs.

wasmtime's own `fd_write` writes the first iovec alone and returns that count, as WASI allows. The library as-wasi, with
which WAGI's users printed, passes a text and its line end as two iovecs and ignores the count: every line end would be
lost, and with it the empty line after the header block. WAGI's own wasmtime wrote both. Source: WASI preview 1,
`fd_write`.

A host function costs more than wasmtime's own, and knows standard output and standard error alone; so the gateway links
this one for modules that AssemblyScript built and that have no volume.
"""

from __future__ import annotations

import os
import struct

from .context import ExecutionContext
from .host import HostImport, Memory, OutOfBounds

_SUCCESS, _BADF, _FAULT, _INVAL, _IO, _PIPE = 0, 8, 21, 28, 29, 64
_IOVEC = struct.Struct("<II")
_MAX_IOVECS = 1024
_CHUNK = 64 * 1024
_FREE_SIZE = 16
"""Bytes from which on a write is not counted against the budget of host calls."""


def _fd_write(context: ExecutionContext, memory: Memory | None, arguments: list[int]) -> int:
    descriptor, start, count, written = arguments
    if descriptor not in (1, 2):
        return _BADF
    if count > _MAX_IOVECS:
        return _INVAL
    if memory is None:
        return _FAULT
    try:
        iovecs = list(_IOVEC.iter_unpack(memory.read(start, count * _IOVEC.size)))
        for iovec in iovecs:
            memory.check(*iovec)
        memory.check(written, 4)
    except OutOfBounds:
        return _FAULT
    try:
        total = sum(_write(context, context.outputs[descriptor - 1], memory, *iovec) for iovec in iovecs)
    except BrokenPipeError:
        return _PIPE
    except OSError:
        return _IO
    memory.write(written, struct.pack("<I", total & 0xFFFFFFFF))
    if total >= _FREE_SIZE:
        context.refund_host_call()
    return _SUCCESS


def _write(context: ExecutionContext, descriptor: int, memory: Memory, start: int, size: int) -> int:
    """Writes one iovec; blocks while the pipe is full, as wasmtime does. Raises OSError."""
    for offset in range(0, size, _CHUNK):
        data = memory.read(start + offset, min(_CHUNK, size - offset))
        while data:
            if context.must_stop():
                raise BrokenPipeError
            data = data[os.write(descriptor, data) :]
    return size


FD_WRITE = HostImport("wasi_snapshot_preview1", "fd_write", 4, _fd_write, failed=_FAULT)
