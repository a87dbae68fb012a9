"""The access log: one record for each request, and one for each outbound call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..cgi.request import RequestHead
from .log_record import ACCESS, CALLS

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.client import Call

MAX_TARGET = 1024
"""Bytes of a request target in the log; the rest is cut off."""

access_logger = logging.getLogger(ACCESS)


def has_access_log() -> bool:
    """Whether requests are logged; `log_access` is called only then, since its arguments cost time."""
    return access_logger.isEnabledFor(logging.INFO)


def log_access(
    request: RequestHead,
    *,
    has_query: bool,
    route: str,
    status: int,
    size: int,
    seconds: float,
    guest_seconds: float | None,
    trace_id: str | None,
    reason: str | None,
) -> None:
    """Logs a request at its end.

    `has_query` includes the query in the target, `size` is bytes of the response's body, and `reason` says why the
    module did not answer.
    """
    fields: dict[str, object] = {
        "status": status,
        "route": route,
        "bytes": size,
        "ms": round(seconds * 1e6) / 1000,
    }
    if guest_seconds is not None:
        fields["guest_ms"] = round(guest_seconds * 1e6) / 1000
    fields["client"] = request.client[0] if request.client else "-"
    fields["id"] = request.request_id
    if trace_id is not None:
        fields["trace_id"] = trace_id
    if reason:
        fields["reason"] = reason
    target = request.raw_path + (b"?" + request.query if request.query and has_query else b"")
    access_logger.info(
        "%s %s", request.method, target[:MAX_TARGET].decode("latin-1"), extra={"fields": fields, "request": request}
    )


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
