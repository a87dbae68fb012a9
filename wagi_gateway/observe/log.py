"""The log: records as text, as JSON or for a terminal, without control characters that a terminal would interpret."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from ..cgi.request import RequestHead, without_userinfo
from ..config.settings import LogConfig
from .log_file import Rotation
from .log_record import ACCESS, NO_ROUTE, SERVER, fields_of
from .log_record import GUEST as GUEST
from .log_record import escape as escape
from .module_log import ModuleLog

logger = logging.getLogger("wagi_gateway")

server_logger = logging.getLogger(SERVER)
server_logger.disabled = True
"""Logger of the server's start, readiness and end, which only a JSON log has."""

MAX_FIELD = 1024
"""Bytes of a request target, or of a header field, in the log; the rest is cut off."""

_encode_json = json.JSONEncoder(ensure_ascii=False).encode
_FIELD = re.compile(r"""(?<![^\s"'(\[{<,])(\w+)=""")
"""What reads as a field of a text line: a name and `=` after a blank, a quotation mark, a bracket or a comma."""
_FIELD_OF_GUEST = re.compile(r"(?<!\w)(\w+)=")
"""In a line of a guest, after whatever is no part of a name: guests have no URLs to be kept readable."""


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    return handler


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
    logger.handlers[0].addFilter(_is_for_run)


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


class TextFormatter(logging.Formatter):
    r"""`2026-11-22T12:00:00.000Z INFO message key=value …`.

    What reads as a field inside of the message becomes `key\x3dvalue`: a message may quote a guest, which prints
    standard error and header blocks.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        fields = "".join([f" {key}={_as_text(value)}" for key, value in fields_of(record).items()])
        is_guest = record.name == GUEST
        origin = "guest: " if is_guest else ""
        message = escape(record.getMessage())
        # A line without fields, such as a warning at the start, has none that its message could forge.
        message = _escape_fields(message, _FIELD_OF_GUEST if is_guest else _FIELD) if fields else message
        line = f"{_time(record)} {record.levelname:<7} {origin}{message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """JSON Lines: an object with time, level, logger, message and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escape(record.getMessage()),
        }
        fields = fields_of(record)
        if request := getattr(record, "request", None):
            fields = {**request_fields(request), **fields}
        line |= {key: escape(value) if isinstance(value, str) else value for key, value in fields.items()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode_json(line)


def request_fields(request: RequestHead) -> dict[str, str]:
    """The fields of an access line that text has in its message, or not at all; a header field only if it is there.

    `path` is without the query, which may hold secrets.
    """
    fields = {"method": request.method, "path": request.raw_path[:MAX_FIELD].decode("latin-1")}
    host = request.target_authority or b"".join(request.values(b"host")[:1])
    if host:
        fields["host"] = without_userinfo(host)[:MAX_FIELD].decode("latin-1")
    if agent := request.values(b"user-agent"):
        fields["user_agent"] = agent[0][:MAX_FIELD].decode("latin-1")
    return fields


def _escape_fields(text: str, field: re.Pattern[str] = _FIELD) -> str:
    return field.sub(r"\1\\x3d", text) if "=" in text else text


def _as_text(value: object) -> object:
    if type(value) in (int, float):
        return value
    text = str(value)
    return text if text.isalnum() else _quoted(text)  # an identifier, of which each is new, or a route or client


@functools.lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    text = _escape_fields(escape(text))
    return _encode_json(text) if " " in text or '"' in text else text


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@functools.lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
