"""The guard before the inspector: who may read it, and what a browser may do with its page."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_FIELD = "x-inspector-token"  # noqa: S105 - the name of a header field
CODE_FIELD = "x-inspector-code"
_CODE_PATH = "/api/token"
_CODE_TIME = 60.0
"""Seconds for which a code is valid."""
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
        self._code: tuple[bytes, float] | None = None

    def code(self) -> str:
        """A new code, with which a page gets the token once, within a minute. The earlier one is void.

        It stands for the token where other users can read: the command line of a browser.
        """
        code = secrets.token_urlsafe(24)
        self._code = code.encode(), time.monotonic() + _CODE_TIME
        return code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on; every response has the fields of _SECURITY."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], scope["path"], headers)
        answer: ASGIApp = self._app
        if refusal:
            answer = PlainTextResponse(f"{refusal}\n", 403)
        elif scope["path"] == _CODE_PATH:
            answer = self._redeem(headers)
        await answer(scope, receive, secured)

    def _redeem(self, headers: Headers) -> PlainTextResponse:
        """The token for the valid code, which is void from now on, whatever code was given."""
        given, known, self._code = headers.get(CODE_FIELD, "").encode(), self._code, None
        if known and time.monotonic() < known[1] and hmac.compare_digest(given, known[0]):
            return PlainTextResponse(self._token.decode())
        return PlainTextResponse("the link was used before, or is too old; press i again\n", 403)

    def _refusal(self, method: str, path: str, headers: Headers) -> str | None:
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return "this is not the inspector's name"
        if (origin := headers.get("origin")) is not None and origin not in self._origins:
            return "the inspector answers its own page alone"
        is_navigation = method == "GET" and path == "/" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_navigation:
            return "the inspector answers its own page alone"
        given = headers.get(TOKEN_FIELD, "").encode()
        if path.startswith("/api/") and path != _CODE_PATH and not hmac.compare_digest(given, self._token):
            return "the token is missing or another start's; press i in the terminal of wagi-gateway dev"
        return None
