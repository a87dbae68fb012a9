"""Reports each file that a guest opens in a volume, to an invocation that wants it (`Measurement.on_open`)."""

from __future__ import annotations

from . import errno
from .context import ExecutionContext
from .invocation import OpenedFile
from .memory import OutOfBounds
from .open_directories import MAX_PATH


def path_opened(context: ExecutionContext, parent: int, path: int, size: int, is_written: int, error: int) -> int:
    """Reports the end of a `path_open` with the path of the file as the guest sees it."""
    measurement, memory = context.invocation.measurement, context.memory
    if measurement and memory:
        try:
            name = memory.read(path, min(size, MAX_PATH))
        except OutOfBounds:
            return errno.FAULT
        measurement.on_open(OpenedFile(_guest_path(context, parent, name), bool(is_written), error))
    return errno.SUCCESS


def _guest_path(context: ExecutionContext, parent: int, name: bytes) -> bytes:
    found = context.directories.place(parent)
    if found is None:
        return name
    volume, prefix = found
    guest = next(one.guest for one in context.invocation.volumes if one.host == volume)
    return guest.rstrip(b"/") + prefix + b"/" + name
