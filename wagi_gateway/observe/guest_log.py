"""A guest's standard error as log records, one for each line."""

from __future__ import annotations

import logging

from ..errors import counted
from .log_record import GUEST

_MAX_LINE = 8 * 1024
"""Bytes of a record; a longer line becomes several records."""

logger = logging.getLogger(GUEST)
server_logger = logging.getLogger("wagi_gateway")


class GuestLog:
    """Splits standard error into lines, and logs each with the guest's route and request id."""

    def __init__(self, route: str, request_id: str) -> None:
        self._extra = {"fields": {"route": route, "id": request_id}}
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Logs the lines that `data` completes, and keeps the incomplete rest."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._log(line)
        while len(self._partial) >= _MAX_LINE:
            self._log(self._partial[:_MAX_LINE])
            self._partial = self._partial[_MAX_LINE:]
        _flush()

    def close(self, dropped: int = 0) -> None:
        """Logs the incomplete last line at the end of the guest, and how many bytes `limits.stderr` has dropped."""
        if self._partial:
            self._log(self._partial)
            self._partial = b""
            _flush()
        if dropped:
            what = f"{counted(dropped, 'more byte')} of standard error {'was' if dropped == 1 else 'were'} dropped"
            server_logger.warning("%s (limits.stderr)", what, extra=self._extra)

    def _log(self, line: bytes) -> None:
        for start in range(0, len(line) or 1, _MAX_LINE):
            text = line[start : start + _MAX_LINE].removesuffix(b"\r").decode("utf-8", "backslashreplace")
            logger.info("%s", text, extra=self._extra)


def _flush() -> None:
    """Writes the records of one read at once, with `log.directory`: ModuleLog collects them until then."""
    for handler in logger.handlers:
        handler.flush()
