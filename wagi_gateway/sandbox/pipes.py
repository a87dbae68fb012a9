"""Pipes as the sandbox uses them: a non-blocking end for the gateway, a path for the guest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from termios import FIONREAD

# Linux has the second as a link to the first, and following it costs a microsecond.
_DESCRIPTORS = b"/proc/self/fd" if os.path.isdir("/proc/self/fd") else b"/dev/fd"

CHUNK = 64 * 1024
"""Bytes read at once."""


def open_pipe(stack: contextlib.ExitStack, capacity: int | None = None) -> tuple[int, int]:
    """A reading and a writing end, which `stack` closes. Raises OSError."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    # The reading end alone: where /dev/fd duplicates a descriptor, the guest's end has to block.
    os.set_blocking(reader, False)
    if capacity:
        # Beyond a user's share of pipe memory the kernel refuses; a smaller pipe works as well.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, capacity)
    return reader, writer


def descriptor_path(descriptor: int) -> bytes:
    """A path that opens what a descriptor refers to: wasmtime's C API takes paths only."""
    return b"%s/%d" % (_DESCRIPTORS, descriptor)


def available(descriptor: int) -> int:
    """How many bytes a pipe holds."""
    return int.from_bytes(fcntl.ioctl(descriptor, FIONREAD, bytes(4)), sys.byteorder)


def read_available(descriptor: int, size: int = CHUNK) -> bytes:
    """What a non-blocking descriptor holds, up to `size` bytes; nothing if nothing is there."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return b""
