"""Who a client is: its certificate, or else a bearer token that the API server reviews."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from ...observe.log import logger
from ..api import TOKEN_REVIEWS, Api, ApiError, ApiUnreachable
from .review_cache import ReviewCache

_LIFETIME = 120.0
"""Seconds for which the review of a token holds: a kubelet's `authentication.webhook.cacheTTL`."""


@dataclass(frozen=True, slots=True)
class ClientUser:
    """A user of the cluster."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: str = ""
    """JSON of further attributes that an authenticator adds; empty without any."""


class Authentication:
    """Finds out the user of a connection or request."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._reviews = ReviewCache[ClientUser | None](lambda _: _LIFETIME, clock)

    async def user(self, scope: Scope) -> ClientUser | None:
        """The user of an ASGI scope; None if the client does not say, or cannot prove, who it is."""
        if user := _of_certificate(scope.get("extensions", {}).get("tls", {}).get("peercert")):
            return user
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        key = hashlib.sha256(token.encode("latin-1")).digest()
        try:
            return await self._reviews.get(key, lambda: self._review(token))
        except (ApiError, ApiUnreachable) as error:
            logger.warning("a token cannot be reviewed: %s", error)
            return None

    async def _review(self, token: str) -> ClientUser | None:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status: dict[str, Any] = (await self._api.create(TOKEN_REVIEWS, body)).get("status") or {}
        user = status.get("user") or {}
        if not status.get("authenticated") or status.get("error") or not user.get("username"):
            return None
        extra = json.dumps(user["extra"], sort_keys=True) if user.get("extra") else ""
        return ClientUser(user["username"], tuple(user.get("groups") or ()), user.get("uid") or "", extra)


def _of_certificate(certificate: dict[str, Any] | None) -> ClientUser | None:
    """The user of a verified certificate, as SSLSocket.getpeercert returns it: the common name, and organizations as
    groups (CommonNameUserConversion of k8s.io/apiserver)."""
    if not certificate:
        return None
    names = [pair for attributes in certificate.get("subject", ()) for pair in attributes]
    common = [value for key, value in names if key == "commonName"]
    if not common or not common[-1]:
        return None
    return ClientUser(common[-1], tuple(value for key, value in names if key == "organizationName"))
