"""Lines of a container's log, in the form of the Kubernetes CRI: `2026-11-30T12:00:00.123456789Z stderr F text`.

`F` tags a full line, or the last part of a line; `P` tags another part (LogTag in cri-api's constants.go).
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime

from .log_record import escape

MAX_PART = 16 * 1024
"""Bytes of a line's part; containerd's max_container_log_line_size."""


class CriFormatter(logging.Formatter):
    """Formats a guest's record as a line of standard error. Control characters are escaped, except tabs."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record, whose field `is_partial` says that the line goes on in the next one."""
        seconds, nanoseconds = divmod(int(record.created * 1e9), 10**9)
        tag = "P" if getattr(record, "is_partial", False) else "F"
        text = "\t".join(map(escape, record.getMessage().split("\t")))
        return f"{_second(seconds)}.{nanoseconds:09d}Z stderr {tag} {text}"


@functools.lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
