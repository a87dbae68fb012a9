"""A local redirect: the request that a guest's `Location: /path?query` stands for (RFC 3875 section 6.2.2)."""

from __future__ import annotations

from dataclasses import replace

from .environ import RequestHead

MAX_REDIRECTS = 5
"""Local redirects one request may go through."""


def redirected(request: RequestHead, location: bytes) -> RequestHead:
    """The request again, as a GET (or HEAD) of `location` without a body; the client and its other fields stay.

    `//host/x` is a path like any other, never a host.
    """
    path, _, query = location.partition(b"?")
    return replace(
        request,
        method="HEAD" if request.method == "HEAD" else "GET",
        raw_path=path,
        query=query,
        headers=tuple(field for field in request.headers if not _is_of_body(field[0])),
    )


def _is_of_body(name: bytes) -> bool:
    return name.startswith(b"content-") or name in (b"transfer-encoding", b"expect")
