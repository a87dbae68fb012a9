"""One line for each outbound call."""

from __future__ import annotations

import logging

from ..outbound.client import Call
from .log import CALLS

logger = logging.getLogger(CALLS)


def log_call(route: str, request_id: str, call: Call) -> None:
    """Logs a call that is over; paths and queries stay out, for they hold secrets."""
    fields: dict[str, object] = {
        "outcome": call.outcome,
        **({} if call.status is None else {"status": call.status}),
        "route": route,
        "sent": call.sent,
        "received": call.received,
        "ms": round(call.seconds * 1000, 3),
        **({"redirects": call.redirects} if call.redirects else {}),
        "id": request_id,
        **({"reason": call.reason} if call.reason else {}),
    }
    level = logging.INFO if call.outcome in ("answered", "stopped") else logging.WARNING
    logger.log(level, "call %s %s", call.method, call.origin, extra={"fields": fields})
