"""Guests' standard error in files, laid out as in WAGI: `<directory>/<sha256 of the route>/module.stderr`."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from pathlib import Path

_WARNING_INTERVAL = 60.0
"""Seconds between two warnings that a file cannot be written."""

server_logger = logging.getLogger("wagi_gateway")


def module_log(directory: Path, route: str) -> Path:
    """The file of a route; `route` is its text in `modules.toml`, or in the output of `_routes`."""
    return directory / hashlib.sha256(route.encode()).hexdigest() / "module.stderr"


class ModuleLog(logging.Handler):
    """Logging handler that collects records, and on `flush` appends them to the files of their routes.

    A file is opened for each write: logrotate may move it, any number of routes needs no descriptors, and workers can
    share it, because each write(2) appends whole lines. Records that cannot be written go to the handler `fallback`.
    """

    def __init__(self, directory: Path, fallback: logging.Handler) -> None:
        super().__init__()
        self._directory = directory
        self._fallback = fallback
        self._pending: dict[str, list[logging.LogRecord]] = {}
        self._warned_at = -_WARNING_INTERVAL

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record for the file of its field `route` until `flush`."""
        self._pending.setdefault(getattr(record, "fields", {}).get("route", ""), []).append(record)

    def flush(self) -> None:
        """Writes the records so far."""
        self.acquire()
        pending, self._pending = self._pending, {}
        self.release()
        for route, records in pending.items():
            self._write(module_log(self._directory, route), records)

    def _write(self, path: Path, records: list[logging.LogRecord]) -> None:
        lines = "".join(f"{self.format(record)}\n" for record in records).encode()
        try:
            written, reason = _append(path, lines), os.strerror(errno.ENOSPC)
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        if written == len(lines):
            return
        if time.monotonic() - self._warned_at >= _WARNING_INTERVAL:
            self._warned_at = time.monotonic()
            server_logger.warning(
                "%s cannot be written: %s; until it can, what guests write to standard error is here", path, reason
            )
        for record in records[lines.count(b"\n", 0, written) :]:
            self._fallback.handle(record)


def _append(path: Path, lines: bytes) -> int:
    """Appends lines, and returns the bytes of whole lines written: fewer on a full disk. Raises OSError."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        for folder in reversed(path.parents):  # os.makedirs would use the mode for the last directory alone
            folder.mkdir(mode=0o750, exist_ok=True)
        descriptor = _open(path)
    try:
        written = os.write(descriptor, lines)
        whole = lines.rfind(b"\n", 0, written) + 1
        if whole < written:
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            if os.fstat(descriptor).st_size == end:  # else another worker has appended lines since
                os.ftruncate(descriptor, end - (written - whole))
        return whole
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # O_NOFOLLOW for the file and its directory, O_NONBLOCK because a FIFO would wait for a reader: a user with write
    # access could plant either. The log directory itself may be a link: systemd creates one for a dynamic user.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path.name, flags, 0o640, dir_fd=folder)
    finally:
        os.close(folder)
