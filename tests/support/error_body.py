"""The body of the gateway's own error responses."""

from __future__ import annotations


def error_body(public: str, request_id: str) -> str:
    """The text that a client gets of an error with this public text."""
    return f"{public}\nRequest id: {request_id}\n"
