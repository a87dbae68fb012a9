"""The WASI functions on `/dev/null` and `/dev/urandom`, and on their directory `/dev`.

Both are character devices, read and written as by null(4) and random(4). A write to `/dev/urandom` is accepted and has
no effect. Source: WASI preview 1, `fd_*`, `path_*`.
"""

from __future__ import annotations

import struct

from . import errno
from .context import ExecutionContext
from .devices import GUEST_PATH, NAMES, OpenDevice
from .iovecs import MAX_IOVECS, read_iovecs
from .memory import OutOfBounds
from .open_directories import MAX_PATH
from .random_get import random_get

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_PRESTAT = struct.Struct("<B3xI")  # tag of a directory, size of the name
_FDSTAT = struct.Struct("<BxH4xQQ")  # file type, flags, rights, inherited rights
_FILESTAT = struct.Struct("<QQB7xQQQQQ")  # device, inode, file type, links, size, times
_DIRENT = struct.Struct("<QQIB3x")  # cookie of the next entry, inode, size of the name, type
_READ, _SEEK, _TELL, _WRITE, _FILESTAT_GET = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 21
_RIGHTS = _READ | _SEEK | _TELL | _WRITE | _FILESTAT_GET
_DIRECTORY_RIGHTS = 1 << 13 | 1 << 14 | 1 << 18 | _FILESTAT_GET  # path_open, fd_readdir, path_filestat_get
_CHARACTER_DEVICE, _DIRECTORY = 2, 3
_CREATE, _ONLY_DIRECTORY, _EXCLUSIVE = 1, 2, 4


def find(context: ExecutionContext, descriptor: int) -> OpenDevice | None:
    """The device of a descriptor; None for any other descriptor."""
    return context.devices.find(descriptor) if context.devices else None


def fd_write(context: ExecutionContext, descriptor: int, iovecs: int, count: int, written_at: int) -> int:
    """Takes all iovecs and discards them."""
    device, memory = find(context, descriptor), context.memory
    if device is None or not device.rights & _WRITE:
        return errno.BADF
    if memory is None:
        return errno.FAULT
    if count > MAX_IOVECS:
        return errno.INVAL
    try:
        total = sum(size for _, size in read_iovecs(context, memory, iovecs, count))
        memory.write(written_at, _U32.pack(total & 0xFFFFFFFF))
    except OutOfBounds:
        return errno.FAULT
    return errno.SUCCESS


def fd_read(context: ExecutionContext, descriptor: int, iovecs: int, count: int, read_at: int) -> int:
    """Reads the end of the file from `null`, and random bytes from `urandom`."""
    device, memory = find(context, descriptor), context.memory
    if device is None or not device.rights & _READ:
        return errno.BADF
    if memory is None:
        return errno.FAULT
    if count > MAX_IOVECS:
        return errno.INVAL
    total = 0
    try:
        memory.check(read_at, _U32.size)
        pieces = read_iovecs(context, memory, iovecs, count)
        for start, size in pieces if device.name == b"urandom" else ():
            random_get(context, start, size)
            total += size
        memory.write(read_at, _U32.pack(total & 0xFFFFFFFF))
    except OutOfBounds:
        return errno.FAULT
    return errno.SUCCESS


def fd_close(context: ExecutionContext, descriptor: int) -> int:
    """Closes a device, or the directory."""
    if context.devices is None or context.devices.find(descriptor) is None:
        return errno.BADF
    context.devices.close(descriptor)
    return errno.SUCCESS


def fd_seek(context: ExecutionContext, descriptor: int, position_at: int) -> int:
    """Stays at the beginning, as lseek(2) on these devices."""
    device = find(context, descriptor)
    return errno.BADF if device is None or device.is_directory else _write(context, position_at, _U64.pack(0))


def fd_fdstat_get(context: ExecutionContext, descriptor: int, stat_at: int) -> int:
    """Describes a device; with the right to seek, so that no guest takes it for a terminal."""
    device = find(context, descriptor)
    if device is None:
        return errno.BADF
    if device.is_directory:
        stat = _FDSTAT.pack(_DIRECTORY, 0, _DIRECTORY_RIGHTS, _RIGHTS | _DIRECTORY_RIGHTS)
    else:
        stat = _FDSTAT.pack(_CHARACTER_DEVICE, device.flags, device.rights | _SEEK | _TELL | _FILESTAT_GET, 0)
    return _write(context, stat_at, stat)


def fd_filestat_get(context: ExecutionContext, descriptor: int, stat_at: int) -> int:
    """Describes a device as a character device without a size or a time."""
    device = find(context, descriptor)
    return errno.BADF if device is None else _write(context, stat_at, _filestat(device.name))


def fd_prestat_get(context: ExecutionContext, descriptor: int, prestat_at: int) -> int:
    """Describes the preopened directory."""
    if not _is_preopen(context, descriptor):
        return errno.BADF
    return _write(context, prestat_at, _PRESTAT.pack(0, len(GUEST_PATH)))


def fd_prestat_dir_name(context: ExecutionContext, descriptor: int, path: int, size: int) -> int:
    """Writes the path of the preopened directory."""
    if not _is_preopen(context, descriptor):
        return errno.BADF if find(context, descriptor) is None else errno.NOTDIR
    return errno.NAMETOOLONG if size < len(GUEST_PATH) else _write(context, path, GUEST_PATH)


def fd_readdir(context: ExecutionContext, descriptor: int, start: int, size: int, cookie: int, used_at: int) -> int:
    """Writes the entries of the directory until the buffer is full; the last one may be cut off."""
    device = find(context, descriptor)
    if device is None:
        return errno.BADF
    if not device.is_directory:
        return errno.NOTDIR
    entries = [(b".", b""), (b"..", b""), *((name, name) for name in NAMES)]
    records = b""
    for number, (name, what) in enumerate(entries[cookie:], cookie + 1):
        records += _DIRENT.pack(number, _inode(what), len(name), _type(what)) + name
    records = records[:size]
    error = _write(context, used_at, _U32.pack(len(records)))
    return error or _write(context, start, records)


def path_open(
    context: ExecutionContext,
    directory: int,
    _lookup: int,
    path: int,
    size: int,
    flags: int,
    rights: int,
    _inheriting: int,
    descriptor_flags: int,
    descriptor_at: int,
) -> int:
    """Opens a device, or the directory; nothing can be created."""
    name = _resolve(context, directory, path, size)
    if isinstance(name, int):
        return errno.ACCES if name == errno.NOENT and flags & _CREATE else name
    if flags & _CREATE and flags & _EXCLUSIVE:
        return errno.EXIST
    if name and flags & _ONLY_DIRECTORY:
        return errno.NOTDIR
    if not name and rights & _WRITE:
        return errno.ISDIR
    memory, devices = context.memory, context.devices
    try:
        if memory is None or devices is None:
            return errno.FAULT
        memory.check(descriptor_at, _U32.size)
    except OutOfBounds:
        return errno.FAULT
    device = OpenDevice(name, rights & (_READ | _WRITE) if name else 0, descriptor_flags & 0xFFFF)
    descriptor = devices.open(device)
    if descriptor is None:
        return errno.MFILE
    return _write(context, descriptor_at, _U32.pack(descriptor))


def path_filestat_get(
    context: ExecutionContext, directory: int, _lookup: int, path: int, size: int, stat_at: int
) -> int:
    """Describes a device, or the directory."""
    name = _resolve(context, directory, path, size)
    return name if isinstance(name, int) else _write(context, stat_at, _filestat(name))


def _resolve(context: ExecutionContext, directory: int, path: int, size: int) -> bytes | int:
    """The name of the device at a path, empty for the directory; or an error number."""
    device = find(context, directory)
    if device is None:
        return errno.BADF
    if not device.is_directory:
        return errno.NOTDIR
    if size > MAX_PATH:
        return errno.NAMETOOLONG
    if context.memory is None:
        return errno.FAULT
    try:
        text = context.memory.read(path, size)
    except OutOfBounds:
        return errno.FAULT
    if not text:
        return errno.NOENT
    names = [name for name in text.split(b"/") if name not in (b"", b".")]
    if text.startswith(b"/") or b".." in names:
        return errno.PERM
    if not names:
        return b""
    if names[0] not in NAMES:
        return errno.NOENT
    if len(names) > 1 or text.endswith((b"/", b"/.")):
        return errno.NOTDIR
    return names[0]


def _is_preopen(context: ExecutionContext, descriptor: int) -> bool:
    devices = context.devices
    return devices is not None and descriptor == devices.numbers.directory and devices.find(descriptor) is not None


def _filestat(name: bytes) -> bytes:
    return _FILESTAT.pack(0, _inode(name), _type(name), 1, 0, 0, 0, 0)


def _inode(name: bytes) -> int:
    return NAMES.index(name) + 2 if name else 1


def _type(name: bytes) -> int:
    return _CHARACTER_DEVICE if name else _DIRECTORY


def _write(context: ExecutionContext, start: int, data: bytes) -> int:
    if context.memory is None:
        return errno.FAULT
    try:
        context.memory.write(start, data)
    except OutOfBounds:
        return errno.FAULT
    return errno.SUCCESS
