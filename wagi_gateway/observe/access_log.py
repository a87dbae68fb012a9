"""The access log: one record for each request, and one for each outbound call."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from .access import Access
from .line_handler import LineHandler
from .log_record import ACCESS, CALLS

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.client import Call

access_logger = logging.getLogger(ACCESS)
parent_logger = logging.getLogger("wagi_gateway")


def has_access_log() -> bool:
    """Whether requests are logged; `log_access` is called only then, since its argument costs time."""
    return access_logger.isEnabledFor(logging.INFO)


def log_access(access: Access) -> None:
    """Logs a request at its end.

    The handler of `log.configure` gets a line: a record costs several times as much. Any other one, as of a program
    that the gateway is a part of, gets a record.
    """
    if handler := _line_handler():
        handler.write_soon(handler.access_line(access, time.time()))
        return
    extra = {"fields": access.fields(), "access": access}
    access_logger.info("%s %s", access.request.method, access.target, extra=extra)


def _line_handler() -> LineHandler | None:
    """The handler of `log.configure`, if it is the only one of the access log, and nothing filters the records."""
    handlers = parent_logger.handlers
    if len(handlers) != 1 or access_logger.handlers or access_logger.filters:
        return None
    handler = handlers[0]
    is_alone = access_logger.propagate and not parent_logger.propagate
    return handler if is_alone and isinstance(handler, LineHandler) and handler.writes_all_lines else None


call_logger = logging.getLogger(CALLS)


def log_call(route: str, request_id: str, call: Call) -> None:
    """Logs an outbound call at its end, without path and query, which may hold secrets."""
    fields: dict[str, object] = {
        "outcome": call.outcome,
        **({} if call.status is None else {"status": call.status}),
        "route": route,
        "sent": call.sent,
        "received": call.received,
        "ms": round(call.seconds * 1e6) / 1000,
        **({"redirects": call.redirects} if call.redirects else {}),
        "id": request_id,
        **({"reason": call.reason} if call.reason else {}),
    }
    level = logging.INFO if call.outcome in ("answered", "stopped") else logging.WARNING
    call_logger.log(level, "call %s %s", call.method, call.origin, extra={"fields": fields})
