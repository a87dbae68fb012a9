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
        self._own_formatter = formatter
        self._held = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that writes what is held."""

    @property
    def writes_all_lines(self) -> bool:
        """Whether the records of requests would get the same lines: with another formatter, level or filter not."""
        return self.formatter is self._own_formatter and self.level <= logging.INFO and not self.filters

    def write_soon(self, line: str) -> None:
        """Writes a line, in the order of calls and records: at once without an event loop.

        Lines that are held together are no longer than PIPE_BUF: another process that writes to the same pipe cannot
        come between them (pipe(7)).
        """
        line += "\n"
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        with self.lock:
            # ASCII has as many bytes as characters; of other lines the stream's encoding decides on the size.
            is_small = len(self._held) + len(line) <= select.PIPE_BUF and line.isascii() and self._held.isascii()
            # Another event loop may not turn again.
            if self._held and not (is_small and loop is self._loop):
                self.flush()
            is_first = not self._held
            self._held += line
            self._loop = loop
        if loop is None:
            self.flush()
        elif is_first:
            loop.call_soon(self.flush)

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
            except Exception:  # noqa: BLE001, S110 - a full disk, a closed stream: as in logging, it ends no request
                pass
