"""The WASI functions on the descriptors 0 to 2, over a guest's StandardStreams. Every other descriptor is unknown here.

Source: WASI preview 1, `fd_*`.
"""

from __future__ import annotations

import math
import struct

from . import device_functions, errno
from .context import ExecutionContext
from .iovecs import IOVEC, MAX_IOVECS, read_iovecs
from .memory import Memory, OutOfBounds
from .streams import CHUNK, CLOSED, STDERR, STDIN, STDOUT

_pack_u32 = struct.Struct("<I").pack_into
_unpack_iovec, _IOVEC_SIZE = IOVEC.unpack_from, IOVEC.size
_RIGHT_READ, _RIGHT_WRITE = 1 << 1, 1 << 6
_UNKNOWN_FILE_TYPE = 0
_FDSTAT = struct.Struct("<BxH4xQQ")  # file type, flags, rights, inherited rights
_FILESTAT = bytes(64)


def fd_write(context: ExecutionContext, descriptor: int, iovecs: int, count: int, written_at: int) -> int:
    """Writes all iovecs to standard output or standard error; waits while the event loop has too much of it."""
    streams, memory = context.streams, context.memory
    stream = streams.descriptors[descriptor] if descriptor <= STDERR else CLOSED
    if stream <= STDIN:
        return device_functions.fd_write(context, descriptor, iovecs, count, written_at)
    if memory is None:
        return errno.FAULT
    bound = memory.size
    if count == 1 and stream == STDOUT and iovecs + _IOVEC_SIZE <= bound and written_at + 4 <= bound:
        view = memory.view
        start, size = _unpack_iovec(view, iovecs)
        if start + size <= bound and 0 < size <= CHUNK:  # as most guests write
            if streams.write_stdout(view[start : start + size].tobytes()):
                _wait_for_room(context)
            _pack_u32(view, written_at, size)
            return errno.SUCCESS
    if count > MAX_IOVECS:
        return errno.INVAL
    try:
        memory.check(written_at, 4)
        pieces = read_iovecs(context, memory, iovecs, count)
    except OutOfBounds:
        return errno.FAULT
    write = _write_stdout if stream == STDOUT else _write_stderr
    total = 0
    for start, size in pieces:
        if size:
            write(context, memory, start, size)
            total += size
    _pack_u32(memory.view, written_at, total & 0xFFFFFFFF)
    return errno.SUCCESS


def fd_read(context: ExecutionContext, descriptor: int, iovecs: int, count: int, read_at: int) -> int:
    """Reads from standard input into the iovecs, until they are full or standard input is at its end."""
    streams, memory = context.streams, context.memory
    if descriptor > STDERR or streams.descriptors[descriptor] != STDIN:
        return device_functions.fd_read(context, descriptor, iovecs, count, read_at)
    if memory is None:
        return errno.FAULT
    if count > MAX_IOVECS:
        return errno.INVAL
    total = 0
    try:
        pieces = read_iovecs(context, memory, iovecs, count)
        memory.check(read_at, 4)
        for start, size in pieces:
            while size and (data := streams.read_stdin(size)):
                memory.write(start, data)
                start, size, total = start + len(data), size - len(data), total + len(data)
                context.raise_if_ending()
            if size:
                break
    except OutOfBounds:
        return errno.FAULT
    except OSError:
        return errno.IO
    _pack_u32(memory.view, read_at, total & 0xFFFFFFFF)
    return errno.SUCCESS


def fd_close(context: ExecutionContext, descriptor: int) -> int:
    """Closes a descriptor; without standard output the response is at its end."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_close(context, descriptor)
    context.streams.close(descriptor)
    return errno.SUCCESS


def fd_renumber(context: ExecutionContext, source: int, target: int) -> int:
    """Moves a stream or device to another descriptor, which has to be open too; a stream stays below 3."""
    if not is_open(context, source) or not is_open(context, target):
        return errno.BADF
    is_stream = _stream(context, source) != CLOSED
    if is_stream and target > STDERR:
        return errno.NOTSUP
    devices = context.devices
    if is_stream:
        context.streams.renumber(source, target)
        if devices:
            devices.close(target)
    elif devices and source != target:
        if _stream(context, target) != CLOSED:
            context.streams.close(target)
        devices.renumber(source, target)
    return errno.SUCCESS


def fd_fdstat_get(context: ExecutionContext, descriptor: int, stat_at: int) -> int:
    """Describes a stream as a file of unknown type, so that no guest takes it for a terminal."""
    stream = _stream(context, descriptor)
    if stream == CLOSED:
        return device_functions.fd_fdstat_get(context, descriptor, stat_at)
    rights = _RIGHT_READ if stream == STDIN else _RIGHT_WRITE
    return _write(context.memory, stat_at, _FDSTAT.pack(_UNKNOWN_FILE_TYPE, 0, rights, rights))


def fd_filestat_get(context: ExecutionContext, descriptor: int, stat_at: int) -> int:
    """Describes a stream as a file of unknown type, without a size or a time."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_filestat_get(context, descriptor, stat_at)
    return _write(context.memory, stat_at, _FILESTAT)


def fd_seek(context: ExecutionContext, descriptor: int, _offset: int, _whence: int, position_at: int) -> int:
    """Refuses: a stream has no position."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_seek(context, descriptor, position_at)
    return errno.SPIPE


def fd_tell(context: ExecutionContext, descriptor: int, position_at: int) -> int:
    """Refuses: a stream has no position."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_seek(context, descriptor, position_at)
    return errno.SPIPE


def fd_pread(context: ExecutionContext, descriptor: int, iovecs: int, count: int, _offset: int, read_at: int) -> int:
    """Refuses: a stream has no position."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_read(context, descriptor, iovecs, count, read_at)
    return errno.SPIPE if _stream(context, descriptor) == STDIN else errno.BADF


def fd_pwrite(
    context: ExecutionContext, descriptor: int, iovecs: int, count: int, _offset: int, written_at: int
) -> int:
    """Refuses: a stream has no position."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_write(context, descriptor, iovecs, count, written_at)
    return errno.SPIPE if _stream(context, descriptor) in (STDOUT, STDERR) else errno.BADF


def fd_prestat_dir_name(context: ExecutionContext, descriptor: int, path: int, size: int) -> int:
    """Refuses: a stream is no directory."""
    if _stream(context, descriptor) == CLOSED:
        return device_functions.fd_prestat_dir_name(context, descriptor, path, size)
    return errno.NOTDIR


def is_open(context: ExecutionContext, descriptor: int) -> bool:
    """Whether a descriptor is one of the guest's streams or devices."""
    return _stream(context, descriptor) != CLOSED or device_functions.find(context, descriptor) is not None


def _stream(context: ExecutionContext, descriptor: int) -> int:
    return context.streams.descriptors[descriptor] if descriptor <= STDERR else CLOSED


def _write_stdout(context: ExecutionContext, memory: Memory, start: int, size: int) -> None:
    streams = context.streams
    for offset in range(start, start + size, CHUNK):
        if streams.write_stdout(memory.view[offset : min(offset + CHUNK, start + size)].tobytes()):
            _wait_for_room(context)


def _write_stderr(context: ExecutionContext, memory: Memory, start: int, size: int) -> None:
    streams = context.streams
    for offset in range(start, start + size, CHUNK):
        if streams.drop_stderr(start + size - offset):
            return
        context.raise_if_ending()
        streams.write_stderr(memory.view[offset : min(offset + CHUNK, start + size)].tobytes())
        if streams.is_full:
            _wait_for_room(context)


def _wait_for_room(context: ExecutionContext) -> None:
    """Waits until the event loop has taken output, at most until the guest's deadline. Raises Unwind."""
    streams = context.streams
    while streams.is_full:
        streams.is_guest_blocked = True
        if streams.is_full:  # else the event loop may have read the flag too early
            context.wait(math.inf)
        context.raise_if_ending()
    streams.is_guest_blocked = False


def _write(memory: Memory | None, start: int, data: bytes) -> int:
    if memory is None:
        return errno.FAULT
    try:
        memory.write(start, data)
    except OutOfBounds:
        return errno.FAULT
    return errno.SUCCESS
