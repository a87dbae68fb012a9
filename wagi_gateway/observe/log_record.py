"""Log records: the names of the loggers, a record's fields, and text without control characters."""

from __future__ import annotations

import logging
from typing import Any

ACCESS = "wagi_gateway.access"
CALLS = "wagi_gateway.calls"
GUEST = "wagi_gateway.guest"
SERVER = "wagi_gateway.server"
NO_ROUTE = "-"
"""The route, in the log and in metrics, of requests that match no module."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that the gateway gave to a record; empty for a record of another library."""
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, dict) else {}


def escape(text: str) -> str:
    r"""Escapes control characters, line breaks and direction marks, as in `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
