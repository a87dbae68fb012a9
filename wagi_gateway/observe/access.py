"""What the access log says of a request."""

from __future__ import annotations

from dataclasses import dataclass

from ..cgi.request import RequestHead

MAX_TARGET = 1024
"""Bytes of a request target in the log; the rest is cut off."""


@dataclass(slots=True)
class Access:
    """A request at its end."""

    request: RequestHead
    has_query: bool
    """Whether the target has the query."""
    route: str
    status: int
    size: int
    """Bytes of the response's body."""
    seconds: float
    guest_seconds: float | None
    """Seconds in the sandbox; None if no guest ran."""
    trace_id: str | None
    reason: str | None
    """Why the module did not answer."""

    @property
    def target(self) -> str:
        """The request target, cut off at MAX_TARGET."""
        request = self.request
        target = request.raw_path + b"?" + request.query if request.query and self.has_query else request.raw_path
        return target[:MAX_TARGET].decode("latin-1")

    @property
    def client(self) -> str:
        """The client's address; `-` for one without."""
        return self.request.client[0] if self.request.client else "-"

    def fields(self) -> dict[str, object]:
        """The fields of a record, without those that the request's head has."""
        fields: dict[str, object] = {
            "status": self.status,
            "route": self.route,
            "bytes": self.size,
            "ms": milliseconds(self.seconds),
        }
        if self.guest_seconds is not None:
            fields["guest_ms"] = milliseconds(self.guest_seconds)
        fields["client"] = self.client
        fields["id"] = self.request.request_id
        if self.trace_id is not None:
            fields["trace_id"] = self.trace_id
        if self.reason:
            fields["reason"] = self.reason
        return fields


def milliseconds(seconds: float) -> float:
    """Milliseconds, to the microsecond."""
    return round(seconds * 1e6) / 1000
