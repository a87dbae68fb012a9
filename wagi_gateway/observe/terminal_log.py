"""The log on a terminal: one line for each request, and below it what its guest wrote to standard error."""

from __future__ import annotations

import asyncio
import logging
import os
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from rich.cells import cell_len, chop_cells, set_cell_size

from .diagnosis import NO_NAMES, Diagnosis
from .log_record import ACCESS, GUEST, escape, fields_of

_HOLD = 1.0
"""Seconds for which the lines of a running request are held, so that they stand below the line of its end."""
_MAX_HELD = 2**18
"""Characters that are held of all requests together."""
_WIDTH = 80
"""Columns of a stream that is no terminal, or of a terminal of unknown width."""
_MIN_TARGET = 8
"""Columns of a request's target, however narrow the terminal is."""
_TAB = 4
"""Columns between two tab stops."""
_INDENT = "  "
_FORMATTER = logging.Formatter()
_STATUS_COLORS = {2: "32", 3: "36", 4: "33", 5: "31"}
_LEVEL_COLORS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_DIM = "2"
"""Parameters of the control function SGR: colours by class of status and by level, and faint (ECMA-48)."""


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Logging handler that writes `12:03:04 GET /hello 200 1.4 ms 18 B  #id` for a request, and other records of the
    request below that line.

    Lines of standard error begin with a bar, lines of the gateway with two blanks. The lines of a request that runs
    for more than a second are written earlier, below a line with its route and id. The local time is shown.
    """

    def __init__(self, stream: TextIO, *, has_access: bool) -> None:
        """`has_access` says whether the access log is written, so that a last record of each request follows.

        The variables `NO_COLOR` (https://no-color.org) and `TERM=dumb` switch colours off.
        """
        super().__init__(stream)
        self._has_access = has_access
        self._has_color = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._bar, self._ellipsis = ("│ ", "…") if _has_unicode(stream) else ("| ", "~")
        self._held: dict[str, list[str]] = {}
        """The lines of running requests, by request id."""
        self._held_size = 0
        self._last_id: str | None = None
        """The request id that the last written line belongs to."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the lines of a record, or holds them until the request's last record."""
        try:
            fields = fields_of(record)
            request_id = fields.get("id")
            if request_id is None:
                self._write(self._message(record, fields, f"{_clock(record.created)} "), None)
            elif record.name == ACCESS:
                self._write(self._request(record, fields) + self._take(request_id), request_id)
            else:
                self._hold(record, fields, request_id)
        except Exception:  # noqa: BLE001 - as in the handlers of logging
            self.handleError(record)

    def close(self) -> None:
        """Writes the lines that are held."""
        for request_id in list(self._held):
            self._release(request_id, "")
        super().close()

    # The order of lines

    def _hold(self, record: logging.LogRecord, fields: Mapping[str, Any], request_id: str) -> None:
        is_first = request_id not in self._held
        lines = self._stderr(record) if record.name == GUEST else self._message(record, fields, _INDENT)
        self._held.setdefault(request_id, []).extend(lines)
        self._held_size += sum(map(len, lines))
        route = str(fields.get("route", ""))
        if not self._has_access or self._held_size > _MAX_HELD:
            self._release(request_id, route)
        elif is_first:
            try:
                asyncio.get_running_loop().call_later(_HOLD, self._release, request_id, f"{route} (running)")
            except RuntimeError:  # a thread without an event loop
                self._release(request_id, route)

    def _take(self, request_id: str) -> list[str]:
        """The held lines of a request, which are no longer held."""
        held = self._held.pop(request_id, [])
        self._held_size -= sum(map(len, held))
        return held

    def _release(self, request_id: str, what: str) -> None:
        """Writes the held lines of a request before its last record, below a line that names the request."""
        self.acquire()
        try:
            held = self._take(request_id)
            if held and request_id != self._last_id:
                now, tail = f"{_clock(time.time())} ", f"  #{request_id}"
                held.insert(0, self._paint(_DIM, now + self._fit(escape(what), now + tail) + tail))
            self._write(held, request_id)
        finally:
            self.release()

    def _write(self, lines: list[str], request_id: str | None) -> None:
        if lines:
            self._last_id = request_id
            with suppress(OSError, ValueError):  # a full disk, or a closed stream
                self.stream.write("".join(f"{line}\n" for line in lines))
                self.flush()

    # The text of records

    def _request(self, record: logging.LogRecord, fields: Mapping[str, Any]) -> list[str]:
        """The line of a request, and others for a reason that does not fit into it."""
        method, _, target = escape(record.getMessage()).partition(" ")
        now, status = _clock(record.created), str(fields["status"])
        numbers, tail = f"{_duration(fields['ms'])} {_size(fields['bytes'])}", f"#{fields['id']}"
        rest = f"{now} {method}  {status} {numbers}  {tail}"
        target = self._fit(target, rest)
        line = f"{self._paint(_DIM, now)} {method} {target} "
        line += f"{self._paint(_STATUS_COLORS.get(int(status[0]), ''), status)} {numbers}  {self._paint(_DIM, tail)}"
        reason = escape(str(fields.get("reason", "")))
        if reason and cell_len(rest + target + _INDENT + reason) <= self._width():
            return [line + _INDENT + reason]
        return [line, *self._wrapped(reason, _INDENT)] if reason else [line]

    def _stderr(self, record: logging.LogRecord) -> list[str]:
        """A line of standard error, folded at the width of the terminal."""
        text = escape(record.getMessage().expandtabs(_TAB))
        bar = self._paint(_DIM, self._bar)
        return [bar + row for row in chop_cells(text, self._width() - len(self._bar)) or [""]]

    def _message(self, record: logging.LogRecord, fields: Mapping[str, Any], prefix: str) -> list[str]:
        """A record of the gateway or of a library, with the fields that no other line of the request has."""
        diagnosis: Diagnosis | None = getattr(record, "diagnosis", None)
        if diagnosis and record.levelno == logging.DEBUG:
            return self._refused(diagnosis, prefix)
        label = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        shown = [f"{name}={value}" for name, value in fields.items() if name not in ("route", "id")]
        text = " ".join([label + record.getMessage(), *shown])
        traceback = _FORMATTER.formatException(record.exc_info).split("\n") if record.exc_info else []
        advice = [NO_NAMES] if diagnosis and diagnosis.lacks_names else []
        lines = [escape(line.expandtabs(_TAB)) for line in (*text.split("\n"), *advice, *traceback)]
        rows = [row for line in lines for row in self._wrapped(line, " " * len(prefix))]
        rows[0] = prefix + rows[0].removeprefix(" " * len(prefix))
        return [self._paint(_LEVEL_COLORS.get(record.levelno, ""), row) for row in rows]

    def _refused(self, diagnosis: Diagnosis, indent: str) -> list[str]:
        """The output of a guest that is no response, folded at the width of the terminal, in place of the same text
        on one line."""
        width = self._width() - len(indent)
        rows = [row for line in diagnosis.refused() for row in chop_cells(line, width)]
        return [self._paint(_DIM, indent + row) for row in rows]

    def _wrapped(self, text: str, indent: str) -> list[str]:
        """Rows of whole words within the width of the terminal."""
        width = max(self._width(), len(indent) + _MIN_TARGET)
        options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
        return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, **options) or [indent]

    def _fit(self, text: str, rest: str) -> str:
        """The beginning of a text that fits beside the `rest` of its line."""
        room = max(self._width() - cell_len(rest), _MIN_TARGET)
        return text if cell_len(text) <= room else set_cell_size(text, room - 1) + self._ellipsis

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if color and self._has_color else text

    def _width(self) -> int:
        try:
            return max(os.get_terminal_size(self.stream.fileno()).columns or _WIDTH, 2 * _MIN_TARGET)
        except (OSError, ValueError):
            return _WIDTH


def _has_unicode(stream: TextIO) -> bool:
    """Whether the encoding of a stream has the characters that the log draws with."""
    try:
        "│…".encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _size(size: int) -> str:
    if size < 2**10:
        return f"{size} B"
    unit, name = next(one for one in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")) if size >= one[0])
    return f"{size / unit:.1f} {name}"
