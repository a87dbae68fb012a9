"""The user of a certificate or a token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.node_api import ADMIN, READER, reviewing_api
from wagi_gateway.node.api import TOKEN_REVIEWS, ApiUnreachable, Object
from wagi_gateway.node.server.authentication import Authentication, ClientUser

GOOD = ClientUser(READER, ("system:authenticated",), "u1", '{"scopes": ["a", "b"]}')
SUBJECT = ((("organizationName", "one"),), (("organizationName", "two"),), (("commonName", ADMIN),))


def scope(authorization: str | None = None, subject: object = None) -> dict[str, Any]:
    headers = [(b"authorization", authorization.encode("latin-1"))] if authorization else []
    return {"headers": headers, "extensions": {"tls": {"peercert": {"subject": subject} if subject else None}}}


@pytest.mark.parametrize(
    ("given", "user"),
    [
        (scope(subject=SUBJECT), ClientUser(ADMIN, ("one", "two"))),
        (scope("Bearer good", SUBJECT), ClientUser(ADMIN, ("one", "two"))),
        (scope("Bearer good", ((("organizationName", "one"),),)), GOOD),
        (scope("Bearer good", ((("commonName", ""),),)), GOOD),
        (scope(subject=((("commonName", "a"),), (("commonName", "b"),))), ClientUser("b")),
        (scope("bearer  good "), GOOD),
        (scope("Bearer bad"), None),
        (scope("Bearer \xff"), None),
        (scope("Bearer "), None),
        (scope("Basic good"), None),
        (scope(), None),
        ({"headers": []}, None),
    ],
)
def test_users(given: dict[str, Any], user: ClientUser | None) -> None:
    assert asyncio.run(Authentication(reviewing_api()).user(given)) == user


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": True},
        {"authenticated": True, "user": {"username": ""}},
        {"authenticated": True, "user": {"username": "x"}, "error": "but"},
        {"user": {"username": "x"}},
    ],
)
def test_a_review_without_a_user(status: Object) -> None:
    api = reviewing_api()
    api.answers[TOKEN_REVIEWS] = lambda body: body | {"status": status}
    assert asyncio.run(Authentication(api).user(scope("Bearer good"))) is None


def test_a_token_is_reviewed_every_two_minutes() -> None:
    api, now = reviewing_api(), [0.0]

    async def story() -> None:
        authentication = Authentication(api, lambda: now[0])
        for now[0] in (0.0, 119.0, 121.0):
            assert await authentication.user(scope("Bearer good")) == GOOD
            assert await authentication.user(scope("Bearer bad")) is None

    asyncio.run(story())
    assert [call[:2] for call in api.calls] == [("create", TOKEN_REVIEWS)] * 4


def test_an_api_server_that_is_away_lets_nobody_in() -> None:
    api = reviewing_api()
    api.failures.append(ApiUnreachable("connection refused"))

    async def story() -> list[ClientUser | None]:
        authentication = Authentication(api)
        return [await authentication.user(scope("Bearer good")) for _ in range(2)]

    assert asyncio.run(story()) == [None, GOOD]
