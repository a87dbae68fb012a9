"""The log of a Pod's gateway itself: what it writes to standard error, which no `kubectl logs` shows."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

MAX_SIZE = 2**20
"""Bytes after which the log begins anew; the part before is kept as `gateway.log.1`."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_TAIL = 1500
"""Bytes of the log in the message of a status."""


def open_log(log: Path) -> BinaryIO:
    """The log of a new run, for the standard error of its process. Raises OSError."""
    _before(log).unlink(missing_ok=True)
    return open(os.open(log, _FLAGS | os.O_APPEND, 0o600), "wb")


def rotate(log: Path) -> None:
    """Bounds the log of a running gateway, as `copytruncate` of logrotate(8): the process keeps the file open.

    Lines that are written meanwhile may be lost. A failure leaves the log as it is.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_SIZE:
            with open(os.open(_before(log), _FLAGS, 0o600), "wb") as before:
                before.write(_end(log, MAX_SIZE))
            os.truncate(log, 0)


def tail(log: Path) -> str:
    """The last lines of the log."""
    end = _end(log, _MAX_TAIL)
    return (_end(_before(log), _MAX_TAIL - len(end)) + end).decode(errors="replace").strip()


def _before(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")


def _end(path: Path, size: int) -> bytes:
    """The last bytes of a file; none of one that cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except OSError:
        return b""
