"""Verbs, subresources and reviews."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import SUBJECT_ACCESS_REVIEWS, Object
from wagi_gateway.node.server.authentication import ClientUser
from wagi_gateway.node.server.authorization import Authorization, subresources, verb


@pytest.mark.parametrize(
    ("kind", "method", "path", "expected"),
    [
        ("http", "GET", "/containerLogs/a/b/c", "get"),
        ("http", "HEAD", "/pods", "get"),
        ("http", "POST", "/pods", "create"),
        ("http", "PUT", "/pods", "update"),
        ("http", "PATCH", "/pods", "patch"),
        ("http", "DELETE", "/pods", "delete"),
        ("http", "OPTIONS", "/pods", "options"),
        ("http", "GET", "/exec/a/b/c", "create"),
        ("http", "GET", "/portForward/a/b", "create"),
        ("http", "GET", "/executed", "get"),
        ("websocket", "GET", "/exec/a/b/c", "create"),
        ("websocket", "GET", "/containerLogs/a/b/c", "create"),
    ],
)
def test_verbs(kind: str, method: str, path: str, expected: str) -> None:
    given: dict[str, Any] = {"type": kind, "path": path} | ({"method": method} if kind == "http" else {})
    assert verb(given) == expected


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/metrics", ("metrics",)),
        ("/metrics/resource", ("metrics",)),
        ("/metricsx", ("proxy",)),
        ("/stats/summary", ("stats",)),
        ("/pods", ("pods", "proxy")),
        ("/containerLogs/a/b/c", ("proxy",)),
        ("/exec/a/b/c", ("proxy",)),
    ],
)
def test_subresources(path: str, names: tuple[str, ...]) -> None:
    assert subresources(path) == names


@pytest.mark.parametrize(
    ("status", "is_allowed"),
    [({"allowed": True}, True), ({"allowed": False}, False), ({"allowed": True, "denied": True}, False), ({}, False)],
)
def test_answers(status: Object, is_allowed: bool) -> None:
    api = MemoryApi()
    api.answers[SUBJECT_ACCESS_REVIEWS] = lambda body: body | {"status": status}
    asked = Authorization(api, "wagi-1").is_allowed(ClientUser("a"), "get", "proxy")
    assert asyncio.run(asked) == is_allowed


def test_what_is_reviewed() -> None:
    api, bodies = MemoryApi(), []

    def answer(body: Object) -> Object:
        bodies.append(body["spec"])
        return body | {"status": {"allowed": True}}

    api.answers[SUBJECT_ACCESS_REVIEWS] = answer
    user = ClientUser("a", ("b", "c"), "uid", '{"scopes": ["x"]}')
    asyncio.run(Authorization(api, "wagi-1").is_allowed(user, "create", "proxy"))
    what = {"verb": "create", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": "wagi-1"}
    spec = {"user": "a", "groups": ["b", "c"], "uid": "uid", "extra": {"scopes": ["x"]}, "resourceAttributes": what}
    assert bodies == [spec]


def test_a_denial_is_kept_shorter_than_a_permission() -> None:
    api, now = MemoryApi(), [0.0]
    api.answers[SUBJECT_ACCESS_REVIEWS] = lambda body: body | {"status": {"allowed": body["spec"]["user"] == "a"}}

    async def story() -> list[int]:
        authorization, counts = Authorization(api, "wagi-1", lambda: now[0]), []
        for now[0] in (0.0, 29.0, 31.0, 299.0, 301.0):
            for name in ("a", "b"):
                assert await authorization.is_allowed(ClientUser(name), "get", "proxy") == (name == "a")
            counts.append(len(api.calls))
        return counts

    assert asyncio.run(story()) == [2, 2, 3, 4, 5]
