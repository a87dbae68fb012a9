"""Pipes between a guest and the gateway: a non-blocking reading end for the gateway, a path for the guest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from termios import FIONREAD

# Linux has the second as a link to the first, and following it costs a microsecond.
_DESCRIPTORS = b"/proc/self/fd" if os.path.isdir("/proc/self/fd") else b"/dev/fd"

CHUNK = 64 * 1024
"""Bytes of one read."""


def open_pipe(stack: contextlib.ExitStack, capacity: int | None = None) -> tuple[int, int]:
    """Returns a reading and a writing end, which `stack` closes. Raises OSError."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    # The writing end stays blocking: where opening /dev/fd duplicates a descriptor, the guest's end has its flags.
    os.set_blocking(reader, False)
    if capacity:
        # The kernel refuses beyond a user's share of pipe memory; a smaller pipe works too.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, capacity)
    return reader, writer


def descriptor_path(descriptor: int) -> bytes:
    """Returns a path that opens the descriptor's file: wasmtime's C API takes paths only."""
    return b"%s/%d" % (_DESCRIPTORS, descriptor)


def available(descriptor: int) -> int:
    """Returns the number of bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(descriptor, FIONREAD, bytes(4)), sys.byteorder)


def read_available(descriptor: int, size: int = CHUNK) -> bytes:
    """Reads up to `size` bytes from a non-blocking descriptor; returns no bytes if there are none."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return b""
