"""A guest's standard error as log records, one for each line."""

from __future__ import annotations

import logging

from ..errors import counted
from .log_record import GUEST
from .module_log import MAX_LINE, ModuleLog

_CONTINUATION = range(0x80, 0xC0)
"""The bytes of a character in UTF-8 after its first (RFC 3629 section 3)."""

logger = logging.getLogger(GUEST)
server_logger = logging.getLogger("wagi_gateway")


class GuestLog:
    """Splits standard error into lines, and logs each with the guest's route and request id."""

    def __init__(self, route: str, request_id: str) -> None:
        self._extra = {"fields": {"route": route, "id": request_id}}
        self._partial_extra = self._extra | {"is_partial": True}
        self._partial = b""
        self._max_line = _max_line(route)

    def feed(self, data: bytes) -> None:
        """Logs the lines that `data` completes, and keeps the incomplete rest."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._log(self._log_parts(line))
        self._partial = self._log_parts(self._partial)
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

    def _log_parts(self, line: bytes) -> bytes:
        """Logs the parts of a line that is longer than a record, and returns the last one."""
        while len(line) > self._max_line:
            end = self._max_line
            while line[end] in _CONTINUATION and end > self._max_line - 3:
                end -= 1
            self._log(line[:end], is_partial=True)
            line = line[end:]
        return line

    def _log(self, line: bytes, *, is_partial: bool = False) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        logger.info("%s", text, extra=self._partial_extra if is_partial else self._extra)


def _max_line(route: str) -> int:
    """Bytes of a record of this route; a longer line becomes several records."""
    files = [handler for handler in logger.handlers if isinstance(handler, ModuleLog)]
    return files[0].max_line(route) if files else MAX_LINE


def _flush() -> None:
    """Writes the records of one read at once, with `log.directory` or `log_file`: ModuleLog collects them until
    then."""
    for handler in logger.handlers:
        handler.flush()
