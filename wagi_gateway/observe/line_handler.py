"""The log on a stream: records at once, and the access lines of one turn of the event loop in one write."""

from __future__ import annotations

import asyncio
import logging
import select
import threading
from typing import TextIO

from .log_format import JsonFormatter, TextFormatter


class LineHandler(logging.StreamHandler[TextIO]):
    """Logging handler that also takes lines without a record, and holds them until the end of this turn of the event
    loop, the next record, or PIPE_BUF bytes."""

    lock: threading.RLock  # as Handler's constructor sets it

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self.access_line = formatter.access_line
        """Makes the line of a request."""
        self._held = ""

    def write_soon(self, line: str) -> None:
        """Writes a line, in the order of calls and records. Called on the event loop, or without one.

        Lines that are held together are no longer than PIPE_BUF: another process that writes to the same pipe cannot
        come between them (pipe(7)).
        """
        line += "\n"
        with self.lock:
            # ASCII has as many bytes as characters; of other lines the stream's encoding decides on the size.
            if len(self._held) + len(line) > select.PIPE_BUF or not (line.isascii() and self._held.isascii()):
                self.flush()
            is_first = not self._held
            self._held += line
        if is_first:
            self._flush_soon()

    def _flush_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # no event loop
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, after the lines that are held."""
        self.flush()
        super().emit(record)

    def flush(self) -> None:
        """Writes the lines that are held."""
        with self.lock:
            held, self._held = self._held, ""
            try:
                if held:
                    self.stream.write(held)
                self.stream.flush()
            except (OSError, ValueError):  # a full disk, or a closed stream
                pass
