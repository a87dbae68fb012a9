"""Tokens of service accounts for `projected` volumes, bound to the Pod and renewed before they expire."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import GatewayError
from ..api import Api, ApiError, Object

_DEFAULT_LIFETIME = 3600
_RENEWED_AFTER = 0.8
"""The part of a token's lifetime after which another one is requested, as a kubelet does."""
_MAX_AGE = 24 * 3600.0
"""Seconds after which a token with a longer lifetime is renewed, as a kubelet does."""


class TokenForbidden(GatewayError):
    """The node's identity may not request tokens of a service account."""


class _Token(NamedTuple):
    text: str
    renewed_at: float


class ServiceAccountTokens:
    """The tokens of one Pod, by audience and lifetime."""

    def __init__(self, api: Api, pod: Object) -> None:
        self._api = api
        self._pod = pod
        self._tokens: dict[tuple[str, int], _Token] = {}

    async def token(self, source: Object, now: float) -> str:
        """The token of a `serviceAccountToken` source; `now` is in seconds of a clock that is not set.

        Raises TokenForbidden, ApiError, ApiUnreachable.
        """
        audience = str(source.get("audience") or "")
        lifetime = int(source.get("expirationSeconds") or _DEFAULT_LIFETIME)
        held = self._tokens.get((audience, lifetime))
        if held is None or now >= held.renewed_at:
            held = await self._request(audience, lifetime, now)
            self._tokens[audience, lifetime] = held
        return held.text

    async def _request(self, audience: str, lifetime: int, now: float) -> _Token:
        metadata = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        body: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": lifetime,
                "boundObjectRef": bound,
                "audiences": [audience] if audience else [],
            },
        }
        account = self._pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._api.create_token(metadata["namespace"], account, body)
        except ApiError as error:
            if error.status != 403:
                raise
            raise TokenForbidden(f"the node has no right to request a token: {error}") from None
        # Not `expirationTimestamp`, which is a time of the API server's clock. The API server may choose a lifetime.
        granted = float((answer.get("spec") or {}).get("expirationSeconds") or lifetime)
        return _Token(answer["status"]["token"], now + min(_RENEWED_AFTER * granted, _MAX_AGE))
