"""The lines of the log as text and as JSON, without control characters that a terminal would interpret."""

from __future__ import annotations

import functools
import json
import logging
import re
from datetime import UTC, datetime

from ..cgi.request import without_userinfo
from .access import MAX_TARGET, Access, milliseconds
from .log_record import ACCESS, GUEST, escape, fields_of

MAX_FIELD = 1024
"""Bytes of a header field in the log; the rest is cut off."""

_encode_json = json.JSONEncoder(ensure_ascii=False).encode
_FIELD = re.compile(r"""(?<![^\s"'(\[{<,])(\w+)=""")
"""What reads as a field of a text line: a name and `=` after a blank, a quotation mark, a bracket or a comma."""
_FIELD_OF_GUEST = re.compile(r"(?<!\w)(\w+)=")
"""In a line of a guest, after whatever is no part of a name: guests have no URLs to be kept readable."""


class TextFormatter(logging.Formatter):
    r"""`2026-11-22T12:00:00.000Z INFO message key=value …`.

    What reads as a field inside of the message becomes `key\x3dvalue`: a message may quote a guest, which prints
    standard error and header blocks.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        if isinstance(access := getattr(record, "access", None), Access):
            return self.access_line(access, record.created)
        fields = "".join([f" {key}={_as_text(value)}" for key, value in fields_of(record).items()])
        is_guest = record.name == GUEST
        origin = "guest: " if is_guest else ""
        message = escape(record.getMessage())
        # A line without fields, such as a warning at the start, has none that its message could forge.
        message = _escape_fields(message, _FIELD_OF_GUEST if is_guest else _FIELD) if fields else message
        line = f"{_time(record.created)} {record.levelname:<7} {origin}{message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def access_line(self, access: Access, created: float) -> str:
        """The line of a request that ended at `created`, in seconds since 1970."""
        request, guest_seconds = access.request, access.guest_seconds
        message = _escape_fields(escape(f"{request.method} {access.target}"))
        guest = "" if guest_seconds is None else f" guest_ms={milliseconds(guest_seconds)}"
        trace = "" if access.trace_id is None else f" trace_id={access.trace_id}"
        reason = f" reason={_quoted(access.reason)}" if access.reason else ""
        return (
            f"{_time(created)} INFO    {message} status={access.status} route={_quoted(access.route)}"
            f" bytes={access.size} ms={milliseconds(access.seconds)}{guest} client={_quoted(access.client)}"
            f" id={request.request_id}{trace}{reason}"
        )


class JsonFormatter(logging.Formatter):
    """JSON Lines: an object with time, level, logger, message and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        if isinstance(access := getattr(record, "access", None), Access):
            return self.access_line(access, record.created)
        line: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escape(record.getMessage()),
        }
        fields = fields_of(record)
        line |= {key: escape(value) if isinstance(value, str) else value for key, value in fields.items()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode_json(line)

    def access_line(self, access: Access, created: float) -> str:
        """The line of a request that ended at `created`, in seconds since 1970.

        `path` is without the query, which may hold secrets. A header field is there only if the request has it.
        """
        request, guest_seconds = access.request, access.guest_seconds
        method, target = _cached_json(request.method), _as_json(access.target)
        path = _as_json(request.raw_path[:MAX_TARGET].decode("latin-1")) if request.query else target
        hosts, agents = request.fields.get(b"host"), request.fields.get(b"user-agent")
        authority = request.target_authority or (hosts[0] if hosts else b"")
        host = f', "host": {_field_as_json(without_userinfo(authority)[:MAX_FIELD])}' if authority else ""
        agent = f', "user_agent": {_field_as_json(agents[0][:MAX_FIELD])}' if agents else ""
        guest = "" if guest_seconds is None else f', "guest_ms": {milliseconds(guest_seconds)}'
        trace = "" if access.trace_id is None else f', "trace_id": "{access.trace_id}"'
        reason = f', "reason": {_as_json(access.reason)}' if access.reason else ""
        return (
            f'{{"time": "{_time(created)}", "level": "info", "logger": "{ACCESS}",'
            f' "message": {method[:-1]} {target[1:]}, "method": {method}, "path": {path}{host}{agent},'
            f' "status": {access.status}, "route": {_cached_json(access.route)}, "bytes": {access.size},'
            f' "ms": {milliseconds(access.seconds)}{guest}, "client": {_cached_json(access.client)},'
            f' "id": "{request.request_id}"{trace}{reason}}}'
        )


def _escape_fields(text: str, field: re.Pattern[str] = _FIELD) -> str:
    return field.sub(r"\1\\x3d", text) if "=" in text and field.search(text) else text  # the search is cheap


def _as_text(value: object) -> object:
    if type(value) in (int, float):
        return value
    text = str(value)
    return text if text.isalnum() else _quoted(text)  # an identifier, of which each is new, or a route or client


@functools.lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    text = _escape_fields(escape(text))
    return _encode_json(text) if " " in text or '"' in text else text


def _as_json(text: str) -> str:
    return _encode_json(escape(text))


_cached_json = functools.lru_cache(maxsize=256)(_as_json)
"""For what many requests have in common."""


@functools.lru_cache(maxsize=256)
def _field_as_json(value: bytes) -> str:
    return _as_json(value.decode("latin-1"))


def _time(seconds: float) -> str:
    return _timestamp(int(seconds * 1000))


@functools.lru_cache(1)  # a busy worker has several lines in a millisecond
def _timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@functools.lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
