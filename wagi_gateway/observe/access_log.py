"""One line for each request."""

from __future__ import annotations

import logging

from ..cgi.environ import RequestHead
from .log import ACCESS

MAX_TARGET = 1024
"""Bytes of a target that are logged."""

logger = logging.getLogger(ACCESS)


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
    """Logs a request that has ended, with its query or not, and the reason where its module did not answer it."""
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {
        "status": status,
        "route": route,
        "bytes": size,
        "ms": round(seconds * 1000, 3),
        **({} if guest_seconds is None else {"guest_ms": round(guest_seconds * 1000, 3)}),
        "client": request.client[0] if request.client else "-",
        "id": request.request_id,
        **({} if trace_id is None else {"trace_id": trace_id}),
    }
    if reason:
        fields["reason"] = reason
    target = request.raw_path + (b"?" + request.query if request.query and has_query else b"")
    logger.info("%s %s", request.method, target[:MAX_TARGET].decode("latin-1"), extra={"fields": fields})
