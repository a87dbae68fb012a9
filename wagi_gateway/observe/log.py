"""The configuration of the log: its loggers, and the handlers and formats of their records."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..config.settings import LogConfig
from .line_handler import LineHandler
from .log_file import Rotation
from .log_format import JsonFormatter, TextFormatter
from .log_record import ACCESS, NO_ROUTE, SERVER, fields_of
from .log_record import GUEST as GUEST
from .log_record import escape as escape
from .module_log import ModuleLog

logger = logging.getLogger("wagi_gateway")

server_logger = logging.getLogger(SERVER)
server_logger.disabled = True
"""Logger of the server's start, readiness and end, which only a JSON log has."""


def configure(
    settings: LogConfig, directory: Path | None = None, files: Mapping[str, Path] = MappingProxyType({})
) -> None:
    """Configures logging for this process, which is a server or a command of the gateway.

    Records of the gateway, uvicorn and OpenTelemetry go to standard error in the format of `settings`; those of guests
    go to the file of their route in `files`, or to files in `directory`, if there is one.
    """
    _disable_unused_record_fields()
    has_json = settings.format == "json"
    has_access = settings.access and settings.level in ("debug", "info")
    if isinstance(sys.stderr, io.TextIOWrapper):  # RFC 8259 section 8.1; text has no character that is an error
        sys.stderr.reconfigure(encoding="utf-8" if has_json else None, errors="backslashreplace")
    handler = _handler(settings.format, has_access=has_access)
    server_logger.disabled = not has_json
    logging.raiseExceptions = False  # a full disk behind standard error would print a traceback for each record
    _configure_libraries(handler if has_json else None)
    for old in logger.handlers:
        if isinstance(old, LineHandler):
            old.flush()
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level.upper())
    logger.propagate = False
    logging.getLogger(ACCESS).disabled = not settings.access
    _configure_guests(settings, directory, files, handler)
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.handlers[:] = [handler]
    uvicorn.setLevel(logging.WARNING)
    uvicorn.propagate = False
    spans = logging.getLogger("opentelemetry")
    spans.handlers[:] = [handler]
    spans.setLevel(logging.WARNING)
    spans.propagate = False
    error = logging.getLogger("uvicorn.error")
    error.filters[:] = [_is_not_redundant]


def _handler(log_format: str, *, has_access: bool) -> logging.Handler:
    """The handler that writes to standard error in a format of `log.format`."""
    if log_format == "terminal" or (log_format == "auto" and sys.stderr.isatty()):
        from .terminal_log import TerminalHandler  # which imports rich

        return TerminalHandler(sys.stderr, has_access=has_access)
    return LineHandler(sys.stderr, JsonFormatter() if log_format == "json" else TextFormatter())


def _configure_libraries(handler: logging.Handler | None) -> None:
    """Has records of other libraries, such as asyncio, written by this handler for JSON."""
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, JsonFormatter)]:
        root.removeHandler(old)
    if handler:
        root.addHandler(handler)


def _disable_unused_record_fields() -> None:
    """Disables the record fields that no format uses: source location, thread and process.

    They cost half of an access line's time. See "Optimization" in the documentation of logging.
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _configure_guests(
    settings: LogConfig, directory: Path | None, files: Mapping[str, Path], fallback: logging.Handler
) -> None:
    guests = logging.getLogger(GUEST)
    has_files = bool(directory or files)
    guests.propagate = not has_files
    guests.setLevel(logging.INFO)  # whatever `log.level` is: these are lines of the module's author
    rotation = Rotation(settings.max_file_size, settings.max_files)
    guests.handlers[:] = [ModuleLog(directory, files, rotation, fallback)] if has_files else []
    for handler in guests.handlers:
        handler.setFormatter(JsonFormatter() if settings.format == "json" else _MessageFormatter())


def is_json() -> bool:
    """Whether the log of this process is JSON."""
    return not server_logger.disabled


def announce(text: str, *, message: str | None = None, **fields: object) -> None:
    """Prints a line about the start on standard output; in JSON it is a record with `fields` of the log instead, with
    `message` if the text differs there."""
    if is_json():
        server_logger.info("%s", message or text, extra={"fields": fields})
        return
    try:
        print(escape(text), flush=True)
    except OSError:  # standard output is full; its buffer would make the exit code 120
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def configure_for_run() -> None:
    """Configures logging for `wagi-gateway run`: messages without time and fields, guests' lines as they are, and the
    reasons of the access log."""
    configure(LogConfig(format="text"))
    logger.handlers[0].setFormatter(_RunFormatter())
    logger.handlers[0].addFilter(_is_for_run)  # a filter wants records, of access lines, too


def _is_not_redundant(record: logging.LogRecord) -> bool:
    """Whether to keep a record of uvicorn: False for a response that the gateway has cut off and for a request that was
    cancelled at the shutdown, which the access log has with the reason."""
    is_cancelled = bool(record.exc_info and record.exc_info[0] is asyncio.CancelledError)
    return not is_cancelled and record.msg != "ASGI callable returned without completing response."


def _is_for_run(record: logging.LogRecord) -> bool:
    """Whether `run` shows a record: an access line for its reason, but not where no route matches, which the command
    itself says with the routes that there are."""
    if record.name != ACCESS:
        return True
    fields = fields_of(record)
    return "reason" in fields and (fields["status"], fields["route"]) != (404, NO_ROUTE)


class _MessageFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        origin = "" if record.name == GUEST else f"{record.levelname.lower()}: "
        fields = fields_of(record)
        outcome = fields.get("reason") or fields.get("status")
        line = origin + escape(record.getMessage() + (f": {outcome}" if outcome else ""))
        diagnosis = getattr(record, "diagnosis", None)
        return "\n    ".join([line, *map(escape, diagnosis.lines())]) if diagnosis else line


class _RunFormatter(_MessageFormatter):
    """Keeps the tabs in guests' lines, such as those of a Go panic; an access line becomes `413: reason`."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == GUEST:
            return "\t".join(map(escape, record.getMessage().split("\t")))
        if record.name == ACCESS:
            fields = fields_of(record)
            return escape(f"warning: {fields['status']}: {fields['reason']}")
        return super().format(record)
