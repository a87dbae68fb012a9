"""The status line of a response, which uvicorn takes from a table (RFC 9112 section 4)."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..http.reason_phrase import RENAMED


def rename_phrases() -> None:
    """Gives uvicorn's table the reason phrases of RFC 9110, which the bodies of the gateway's errors have."""
    for status, phrase in RENAMED.items():
        STATUS_LINE[status] = b"HTTP/1.1 %d %s\r\n" % (status, phrase.encode())
