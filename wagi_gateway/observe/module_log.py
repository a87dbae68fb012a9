"""Guests' standard error in files: a module's `log_file`, or laid out as in WAGI, `<directory>/<sha256 of the
route>/module.stderr`."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from .cri import MAX_PART, CriFormatter
from .log_file import Rotation, append

MAX_LINE = 8 * 1024
"""Bytes of a guest's record, except in a module's own file; a longer line becomes several records."""
_WARNING_INTERVAL = 60.0
"""Seconds between two warnings that a file cannot be written."""

server_logger = logging.getLogger("wagi_gateway")


def module_log(directory: Path, route: str) -> Path:
    """The file of a route; `route` is its text in `modules.toml`, or in the output of `_routes`."""
    return directory / hashlib.sha256(route.encode()).hexdigest() / "module.stderr"


class ModuleLog(logging.Handler):
    """Logging handler that collects records, and on `flush` appends them to the files of their routes.

    A file is opened for each write: logrotate may move it, any number of routes needs no descriptors, and workers can
    share it, because each write(2) appends whole lines. Records of a route without a file, and those that cannot be
    written, go to the handler `fallback`.
    """

    def __init__(
        self, directory: Path | None, files: Mapping[str, Path], rotation: Rotation, fallback: logging.Handler
    ) -> None:
        """`files` are the files of routes that have their own, in the form of the CRI and with `rotation`; the other
        routes have theirs in `directory`, if there is one."""
        super().__init__()
        self._directory = directory
        self._files = files
        self._rotation = rotation
        self._fallback = fallback
        self._cri = CriFormatter()
        self._pending: dict[str, list[logging.LogRecord]] = {}
        self._warned_at = -_WARNING_INTERVAL

    def max_line(self, route: str) -> int:
        """Bytes of a record of a route."""
        return MAX_PART if route in self._files else MAX_LINE

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record for the file of its field `route` until `flush`."""
        self._pending.setdefault(getattr(record, "fields", {}).get("route", ""), []).append(record)

    def flush(self) -> None:
        """Writes the records so far."""
        self.acquire()
        pending, self._pending = self._pending, {}
        self.release()
        for route, records in pending.items():
            if file := self._files.get(route):
                self._write(file, records, [self._cri.format(record) for record in records], self._rotation)
            elif self._directory:
                self._write(module_log(self._directory, route), records, list(map(self.format, records)))
            else:
                self._fall_back(records)

    def _write(
        self, path: Path, records: list[logging.LogRecord], texts: list[str], rotation: Rotation | None = None
    ) -> None:
        lines = "".join(f"{text}\n" for text in texts).encode()
        try:
            written, reason = append(path, lines, rotation), os.strerror(errno.ENOSPC)
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        if written == len(lines):
            return
        if time.monotonic() - self._warned_at >= _WARNING_INTERVAL:
            self._warned_at = time.monotonic()
            server_logger.warning(
                "%s cannot be written: %s; until it can, what guests write to standard error is here", path, reason
            )
        self._fall_back(records[lines.count(b"\n", 0, written) :])

    def _fall_back(self, records: list[logging.LogRecord]) -> None:
        for record in records:
            self._fallback.handle(record)
