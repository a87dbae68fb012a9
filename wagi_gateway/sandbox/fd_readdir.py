"""The WASI function `fd_readdir`, entry by entry: wasmtime's own reads the whole directory at each call.

The descriptors are wasmtime's, and a host function cannot reach the directories behind them. So the adapter reports
each directory that the guest opens, and the gateway opens the same path beneath the same volume.
Source: WASI preview 1, `fd_readdir`, `dirent`.
"""

from __future__ import annotations

import struct

from . import device_functions, errno
from .context import ExecutionContext
from .memory import OutOfBounds
from .streams import STDERR

_DIRENT = struct.Struct("<QQIB3x")  # cookie of the next entry, inode, size of the name, type
_U32 = struct.Struct("<I")


def directory_opened(context: ExecutionContext, parent: int, path: int, size: int, descriptor: int) -> int:
    """Notes a directory that the guest has opened."""
    if context.memory is None:
        return errno.FAULT
    context.directories.add(parent, context.memory.read(path, size), descriptor)
    return errno.SUCCESS


def directory_renumbered(context: ExecutionContext, source: int, target: int) -> int:
    """Notes a descriptor that the guest has moved."""
    context.directories.renumber(source, target)
    return errno.SUCCESS


def fd_readdir(context: ExecutionContext, descriptor: int, start: int, size: int, cookie: int, used_at: int) -> int:
    """Writes directory entries until the buffer is full; the last one may be cut off."""
    memory = context.memory
    if memory is None:
        return errno.FAULT
    if descriptor <= STDERR or device_functions.find(context, descriptor):
        return device_functions.fd_readdir(context, descriptor, start, size, cookie, used_at)
    try:
        memory.check(start, size)
        memory.check(used_at, 4)
    except OutOfBounds:
        return errno.FAULT
    used = 0
    try:
        listing = context.directories.listing(descriptor)
        while used < size and (entry := listing.entry(cookie, context.count_host_calls)):
            cookie += 1
            record = _DIRENT.pack(cookie, entry.inode, len(entry.name), entry.type) + entry.name
            record = record[: size - used]
            memory.write(start + used, record)
            used += len(record)
    except OSError:
        return errno.IO
    memory.write(used_at, _U32.pack(used))
    return errno.SUCCESS
