"""Tokens of service accounts: bound to the Pod, kept until their renewal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod
from wagi_gateway.node.api import ApiError, Object
from wagi_gateway.node.pods.service_account_token import ServiceAccountTokens

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("lifetime", "granted", "kept", "renewed"),
    [(600, 600, 479, 481), (3600, 3600, 2879, 2881), (10**7, 10**7, 86399, 86401), (600, 1000, 799, 801)],
    ids=["short", "an hour", "long", "another lifetime than requested"],
)
def test_a_token_is_renewed_before_it_expires(lifetime: int, granted: int, kept: float, renewed: float) -> None:
    """By the time that has passed, whatever the clocks of node and API server show."""
    asked: list[Object] = []

    def answer(namespace: str, account: str, body: Object) -> Object:
        asked.append(body["spec"] | {"account": f"{namespace}/{account}"})
        status = {"token": f"token {len(asked)}", "expirationTimestamp": "1999-12-31T23:59:59Z"}
        return {"spec": {"expirationSeconds": granted}, "status": status}

    api = MemoryApi()
    api.tokens = answer
    tokens = ServiceAccountTokens(api, a_pod(serviceAccountName="robot"))
    source: dict[str, Any] = {"audience": "vault", "expirationSeconds": lifetime}

    async def story() -> list[str]:
        return [await tokens.token(source, NOW + later) for later in (0, kept, renewed)]

    assert asyncio.run(story()) == ["token 1", "token 1", "token 2"]
    assert asked[0] == {
        "account": "default/robot",
        "audiences": ["vault"],
        "expirationSeconds": lifetime,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "demo", "uid": "uid-demo"},
    }


def test_the_default_audience_and_account() -> None:
    api = MemoryApi()
    tokens = ServiceAccountTokens(api, a_pod())
    assert asyncio.run(tokens.token({}, NOW)) == "token-of-default"


def test_another_error_is_one_of_the_api() -> None:
    def away(*_: object) -> Object:
        raise ApiError(500, "InternalError", "")

    api = MemoryApi()
    api.tokens = away
    with pytest.raises(ApiError):
        asyncio.run(ServiceAccountTokens(api, a_pod()).token({}, NOW))
