"""The WASI function `fd_readdir`, entry by entry: wasmtime's own reads the whole directory at each call.

The descriptor is wasmtime's. Its directory is found again among the descriptors of the process by device and inode.
Source: WASI preview 1, `fd_readdir`, `dirent`.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from stat import S_ISDIR

from . import errno
from .context import ExecutionContext
from .directory_listing import DirectoryListing
from .host import HostImport
from .memory import OutOfBounds

_DIRENT = struct.Struct("<QQIB3x")  # cookie of the next entry, inode, size of the name, type
_MAX_LISTINGS = 4
"""Directories that a guest reads at the same time; the one begun first is begun anew if it is read on."""
_U32 = struct.Struct("<I")


def fd_readdir(
    context: ExecutionContext,
    descriptor: int,
    start: int,
    size: int,
    cookie: int,
    used_at: int,
    device: int,
    inode: int,
) -> int:
    """Writes directory entries until the buffer is full; the last one may be cut off."""
    memory = context.memory
    if memory is None:
        return errno.FAULT
    try:
        memory.check(start, size)
        memory.check(used_at, 4)
    except OutOfBounds:
        return errno.FAULT
    used = 0
    try:
        listing = _listing(context, descriptor, device, inode)
        while used < size and (entry := listing.entry(cookie, context.count_host_call)):
            cookie += 1
            record = _DIRENT.pack(cookie, entry.inode, len(entry.name), entry.type) + entry.name
            record = record[: size - used]
            memory.write(start + used, record)
            used += len(record)
    except OSError:
        return errno.IO
    memory.write(used_at, _U32.pack(used))
    return errno.SUCCESS


FD_READDIR = HostImport("wasi_snapshot_preview1", "fd_readdir", "iiiIiII", fd_readdir, failed=errno.IO)
"""`fd_readdir` with the device and the inode of the directory."""


def _listing(context: ExecutionContext, descriptor: int, device: int, inode: int) -> DirectoryListing:
    """The listing of a guest's descriptor, which is begun if there is none. Raises OSError."""
    listings = context.listings
    key = (descriptor, device, inode)
    if key not in listings:
        listing = DirectoryListing(_open(device, inode))
        if len(listings) >= _MAX_LISTINGS:
            listings.pop(next(iter(listings))).close()
        listings[key] = listing
    return listings[key]


def _open(device: int, inode: int) -> int:
    """Opens a directory that the process has open. Raises OSError."""
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        with suppress(OSError):  # closed meanwhile
            found = os.stat(path)
            if (found.st_dev, found.st_ino) == (device, inode) and S_ISDIR(found.st_mode):
                opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                again = os.fstat(opened)
                if (again.st_dev, again.st_ino) == (device, inode):
                    return opened
                os.close(opened)
    raise FileNotFoundError(f"no open directory has the inode {inode}")
