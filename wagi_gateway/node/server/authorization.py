"""What a user may do with the node: SubjectAccessReviews about subresources of the Node."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from starlette.types import Scope

from ..api import SUBJECT_ACCESS_REVIEWS, Api, Object
from .authentication import ClientUser
from .review_cache import ReviewCache

_ALLOWED, _DENIED = 300.0, 30.0
"""Seconds for which an answer holds: a kubelet's `authorization.webhook.cacheAuthorizedTTL`, `cacheUnauthorizedTTL`."""
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COMMANDS = ("/exec", "/attach", "/portForward", "/run")


def verb(scope: Scope) -> str:
    """The verb of a request. A command is `create`, also over a WebSocket, whose method is GET: a user who may only
    read could otherwise execute."""
    if scope["type"] == "websocket" or any(_is_below(scope["path"], path) for path in _COMMANDS):
        return "create"
    method: str = scope["method"]
    return _VERBS.get(method, method.lower())


def subresources(path: str) -> tuple[str, ...]:
    """The subresources of a Node of which a user needs one for a path, as of a kubelet (GetRequestAttributes)."""
    if _is_below(path, "/stats"):
        return ("stats",)
    if _is_below(path, "/metrics"):
        return ("metrics",)
    return ("pods", "proxy") if _is_below(path, "/pods") else ("proxy",)


class Authorization:
    """Asks the API server whether a user may do something with this node."""

    def __init__(self, api: Api, node: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._node = node
        self._reviews = ReviewCache[bool](lambda is_allowed: _ALLOWED if is_allowed else _DENIED, clock)

    async def is_allowed(self, user: ClientUser, verb: str, subresource: str) -> bool:
        """Whether the user may. Raises ApiError and ApiUnreachable."""
        return await self._reviews.get((user, verb, subresource), lambda: self._review(user, verb, subresource))

    async def _review(self, user: ClientUser, verb: str, subresource: str) -> bool:
        spec: Object = {"user": user.name, "groups": list(user.groups)}
        spec |= {"uid": user.uid} if user.uid else {}
        spec |= {"extra": json.loads(user.extra)} if user.extra else {}
        spec["resourceAttributes"] = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = (await self._api.create(SUBJECT_ACCESS_REVIEWS, body)).get("status") or {}
        return bool(status.get("allowed")) and not status.get("denied")


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
