"""The ASGI application that answers with guests: a request's head is read, and the exchange begins."""

from __future__ import annotations

import itertools
import re
import secrets

from starlette.types import Receive, Scope, Send

from .cgi.environ import RequestHead
from .cgi.forwarded import apply_forwarded
from .exchange import Exchange
from .reply import Reply
from .sandbox import Gate, Places, Sandbox
from .site import Site
from .spool import SpoolRoom

_ABSOLUTE_FORM = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)


class Gateway:
    """Answers every request of a site that is not built in."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sandbox: Sandbox | None = None
        """Where guests run; set while the server is up."""
        self._request_ids = itertools.count(1)
        # Different for each worker and start, so that ids differ at the price of a counter.
        self._request_id_prefix = secrets.token_hex(5)
        server = site.config.server
        self._spool_room = SpoolRoom(server.spool, server.body_memory)
        places = Places(server.concurrency)
        self._gates = [
            Gate(places, module.limits.concurrency, module.limits.queue, module.limits.queue_time)
            for module in site.config.module
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its head to its line in the log."""
        request_id = f"{self._request_id_prefix}{next(self._request_ids):08x}"
        request = apply_forwarded(_request_head(scope, request_id), self.site.config.server.trusted_proxies)
        reply = Reply(request, send)
        exchange = Exchange(self.site, self.sandbox, self._gates, self._spool_room, request, receive, reply)
        await exchange.answer()


def _request_head(scope: Scope, request_id: str) -> RequestHead:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    # A copy, because a server may go on appending to the list while the body is read. Blanks around a value are no part
    # of it (RFC 9110 section 5.5), and not every parser takes them off.
    headers = tuple([(name, value.strip(b" \t")) for name, value in scope["headers"]])
    absolute = None if raw_path.startswith(b"/") else _ABSOLUTE_FORM.fullmatch(raw_path)
    return RequestHead(
        method=scope["method"],
        raw_path=(absolute[2] or b"/") if absolute else raw_path,
        query=scope["query_string"],
        http_version=scope["http_version"],
        scheme=scope["scheme"],
        headers=headers,
        client=scope.get("client"),
        server=scope.get("server"),
        request_id=request_id,
        target_authority=absolute[1] if absolute else None,
    )
