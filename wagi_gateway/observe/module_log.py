"""Guests' standard error in files, laid out as WAGI did it: `<directory>/<sha256 of the route>/module.stderr`."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from pathlib import Path

_REMIND = 60.0
"""Seconds between two warnings that a file cannot be written."""

server_logger = logging.getLogger("wagi_gateway")


def module_log(directory: Path, route: str) -> Path:
    """The file of a route, as it is written in `modules.toml` or printed by `_routes`."""
    return directory / hashlib.sha256(route.encode()).hexdigest() / "module.stderr"


class ModuleLog(logging.Handler):
    """Collects records, and with `flush` appends them to the files of their routes.

    A file is opened for each writing and not kept open: so one that was moved away by logrotate, or removed, is there
    again with the next line, any number of routes costs no descriptor, and workers may share it. What is written is
    whole lines at once. What cannot be written goes to the `fallback`.
    """

    def __init__(self, directory: Path, fallback: logging.Handler) -> None:
        super().__init__()
        self._directory = directory
        self._fallback = fallback
        self._pending: dict[str, list[logging.LogRecord]] = {}
        self._reminded = -_REMIND

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record, whose field `route` says where it belongs, until it is flushed."""
        self._pending.setdefault(getattr(record, "fields", {}).get("route", ""), []).append(record)

    def flush(self) -> None:
        """Writes what has come."""
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
        if time.monotonic() - self._reminded >= _REMIND:
            self._reminded = time.monotonic()
            server_logger.warning(
                "%s cannot be written: %s; until it can, what guests write to standard error is here", path, reason
            )
        for record in records[lines.count(b"\n", 0, written) :]:
            self._fallback.handle(record)


def _append(path: Path, lines: bytes) -> int:
    """Appends lines, and returns how many bytes of them, all of whole lines, there was room for. Raises OSError."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        for folder in reversed(path.parents):  # `makedirs` would leave the mode of all but the last to the umask
            folder.mkdir(mode=0o750, exist_ok=True)
        descriptor = _open(path)
    try:
        written = os.write(descriptor, lines)
        whole = lines.rfind(b"\n", 0, written) + 1
        if whole < written:
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            if os.fstat(descriptor).st_size == end:  # else another worker has found room
                os.ftruncate(descriptor, end - (written - whole))
        return whole
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # Without following a link somebody has put there, for the file or its directory, or waiting for the reader of a
    # pipe. The directory of all of them may be a link: systemd makes one for a dynamic user.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path.name, flags, 0o640, dir_fd=folder)
    finally:
        os.close(folder)
