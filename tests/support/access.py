"""A request at its end, as the access log gets it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.observe.access import Access

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def access(
    target: bytes = b"/a/b?c=1",
    headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"h:1"), (b"user-agent", b"curl")),
    client: str | None = "192.0.2.7",
    request_id: str = "r1",
    **others: Any,
) -> Access:
    """A request that a guest has answered; `others` are fields of the result."""
    path, _, query = target.partition(b"?")
    peer = (client, 9) if client else None
    request = RequestHead("GET", path, query, "1.1", "http", headers, peer, None, request_id)
    answered = Access(request, True, "/a/...", 200, 5, 0.005526, 0.001506, None, None)
    return replace(answered, **others)
