"""The guard before the node's API: who may ask what, with the answers of a kubelet (InstallAuthFilter)."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ...observe.log import logger
from ..api import ApiError, ApiUnreachable
from .authentication import Authentication
from .authorization import Authorization, subresources, verb

_ANONYMOUS = ("/healthz",)


class NodeGuard:
    """Passes on what the client may ask; `/healthz` is for anybody."""

    def __init__(self, app: ASGIApp, authentication: Authentication, authorization: Authorization) -> None:
        self._app = app
        self._authentication = authentication
        self._authorization = authorization

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with 401, 403 or 500, or passes the request on."""
        refusal = None if scope["path"] in _ANONYMOUS and scope["type"] == "http" else await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        user = await self._authentication.user(scope)
        if user is None:
            return PlainTextResponse("Unauthorized", 401, {"www-authenticate": "Bearer"})
        wanted, names = verb(scope), subresources(scope["path"])
        for subresource in names:
            what = f"(user={user.name}, verb={wanted}, resource=nodes, subresource={subresource})"
            try:
                if await self._authorization.is_allowed(user, wanted, subresource):
                    return None
            except (ApiError, ApiUnreachable) as error:
                logger.warning("%s cannot be authorized: %s", what, error)
                return PlainTextResponse(f"Authorization error {what}", 500)
        what = f"(user={user.name}, verb={wanted}, resource=nodes, subresource={','.join(names)})"
        return PlainTextResponse(f"Forbidden {what}\n", 403)
