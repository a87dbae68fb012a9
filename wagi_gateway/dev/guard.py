"""The guard before the inspector: who may read it, and what a browser may do with its page."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_FIELD = "x-inspector-token"  # noqa: S105 - the name of a header field
_SECURITY = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class InspectorGuard:
    """Refuses requests of other hosts' names (DNS rebinding), of other sites, and calls of the API without the token.

    The page itself holds nothing and needs no token: a browser sends none with a navigation.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], token: str) -> None:
        """`hosts` are the values of Host that are answered, with the port."""
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on; every response has the fields of _SECURITY."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        if scope["type"] != "http":
            return
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        answer = PlainTextResponse(f"{refusal}\n", 403) if refusal else self._app
        await answer(scope, receive, secured)

    def _refusal(self, method: str, path: str, headers: Headers) -> str | None:
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return "this is not the inspector's name"
        if (origin := headers.get("origin")) is not None and origin not in self._origins:
            return "the inspector answers its own page alone"
        is_navigation = method == "GET" and path == "/" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_navigation:
            return "the inspector answers its own page alone"
        given = headers.get(TOKEN_FIELD, "").encode()
        if path.startswith("/api/") and not hmac.compare_digest(given, self._token):
            return "the token is missing or another start's; press i in the terminal of wagi-gateway dev"
        return None
