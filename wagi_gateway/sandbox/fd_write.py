"""`fd_write` for AssemblyScript: one that writes all pieces it is given.

wasmtime writes the first piece alone and says so, as WASI allows. The library as-wasi, with which WAGI's users printed,
hands over a text and its line end as two pieces and does not look how much was written: every line end would be lost,
and with it the empty line after the header block. WAGI's own wasmtime wrote both. Source: WASI preview 1, `fd_write`.

A host function costs more than wasmtime's, and knows standard output and standard error alone; so it is for modules
that AssemblyScript built, and that have no volume to write to.
"""

from __future__ import annotations

import os
import struct

import wasmtime

from .host import Memory, OutOfBounds, define
from .invocation import Invocation

_SUCCESS, _BADF, _FAULT, _INVAL, _IO, _PIPE = 0, 8, 21, 28, 29, 64
_PIECE = struct.Struct("<II")
_MAX_PIECES = 1024
_CHUNK = 64 * 1024
_SOME = 16
"""Bytes from which on a write is more than a call of the host."""


def define_gathering_fd_write(linker: wasmtime.Linker) -> None:
    """Replaces wasmtime's `fd_write` in a linker that allows shadowing."""
    define(linker, "wasi_snapshot_preview1", "fd_write", 4, _fd_write, failed=_FAULT)


def _fd_write(invocation: Invocation, memory: Memory | None, arguments: list[int]) -> int:
    descriptor, start, count, written = arguments
    if descriptor not in (1, 2):
        return _BADF
    if count > _MAX_PIECES:
        return _INVAL
    if memory is None:
        return _FAULT
    try:
        pieces = list(_PIECE.iter_unpack(memory.read(start, count * _PIECE.size)))
        for piece in pieces:
            memory.check(*piece)
        memory.check(written, 4)
    except OutOfBounds:
        return _FAULT
    try:
        total = sum(_write(invocation, invocation.outputs[descriptor - 1], memory, *piece) for piece in pieces)
    except BrokenPipeError:
        return _PIPE
    except OSError:
        return _IO
    memory.write(written, struct.pack("<I", total & 0xFFFFFFFF))
    if total >= _SOME:
        invocation.forgive_host_call()
    return _SUCCESS


def _write(invocation: Invocation, descriptor: int, memory: Memory, start: int, size: int) -> int:
    """Blocks while the pipe is full, as wasmtime does. Raises OSError."""
    for offset in range(0, size, _CHUNK):
        data = memory.read(start + offset, min(_CHUNK, size - offset))
        while data:
            if invocation.must_stop():
                raise BrokenPipeError
            data = data[os.write(descriptor, data) :]
    return size
