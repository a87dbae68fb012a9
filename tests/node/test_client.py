"""Requests, refusals, watches and bounds of the client, against a server of given answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import pytest
from lightkube import KubeConfig
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, User

from tests.support.fault_proxy import Answer, FaultProxy, Received, refusing
from wagi_gateway.node import client
from wagi_gateway.node.api import (
    EVENTS,
    LEASES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    TOKEN_REVIEWS,
    ApiError,
    ApiUnreachable,
    Object,
    WatchEvent,
)
from wagi_gateway.node.client import LightkubeApi

ANSWER = {"metadata": {"name": "n"}}


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    with FaultProxy() as server:
        yield server


@asynccontextmanager
async def connected(server: FaultProxy) -> AsyncIterator[LightkubeApi]:
    config = KubeConfig.from_server(server.url).get()
    assert config
    api = LightkubeApi(config)
    try:
        yield api
    finally:
        await api.aclose()


def called(server: FaultProxy, call: Callable[[LightkubeApi], Awaitable[Object | None]]) -> Object | None:
    async def go() -> Object | None:
        async with connected(server) as api:
            return await call(api)

    return asyncio.run(go())


def always(server: FaultProxy, document: Object) -> None:
    server.fault(lambda _: True, lambda _request, _proxy: Answer(body=json.dumps(document).encode()))


CALLS: dict[str, tuple[Callable[[LightkubeApi], Awaitable[Object | None]], str, Object | None]] = {
    "get": (lambda api: api.get(NODES, "n"), "GET /api/v1/nodes/n", None),
    "get in a namespace": (
        lambda api: api.get(LEASES, "n", "kube-node-lease"),
        "GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n",
        None,
    ),
    "a name that is no path": (
        lambda api: api.get(SECRETS, "../x?y", "a/b"),
        "GET /api/v1/namespaces/a%2Fb/secrets/..%2Fx%3Fy",
        None,
    ),
    "create": (
        lambda api: api.create(EVENTS, {"metadata": {"namespace": "here"}}),
        "POST /api/v1/namespaces/here/events",
        {"metadata": {"namespace": "here"}},
    ),
    "review": (
        lambda api: api.create(TOKEN_REVIEWS, {"spec": {}}),
        "POST /apis/authentication.k8s.io/v1/tokenreviews",
        {"spec": {}},
    ),
    "replace": (
        lambda api: api.replace(LEASES, {"metadata": {"name": "n", "namespace": "x"}}),
        "PUT /apis/coordination.k8s.io/v1/namespaces/x/leases/n",
        {"metadata": {"name": "n", "namespace": "x"}},
    ),
    "patch": (lambda api: api.patch(NODES, "n", {"a": 1}), "PATCH /api/v1/nodes/n", {"a": 1}),
    "patch of a subresource": (
        lambda api: api.patch(PODS, "p", {"status": {}}, "x", subresource="status"),
        "PATCH /api/v1/namespaces/x/pods/p/status",
        {"status": {}},
    ),
    "delete": (
        lambda api: api.delete(PODS, "p", "x", uid="u", grace_period=0),
        "DELETE /api/v1/namespaces/x/pods/p",
        {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": "u"},
            "gracePeriodSeconds": 0,
        },
    ),
    "delete with the defaults": (
        lambda api: api.delete(PODS, "p", "x"),
        "DELETE /api/v1/namespaces/x/pods/p",
        {"apiVersion": "v1", "kind": "DeleteOptions"},
    ),
    "token": (
        lambda api: api.create_token("x", "account", {"spec": {}}),
        "POST /api/v1/namespaces/x/serviceaccounts/account/token",
        {"spec": {}},
    ),
}


@pytest.mark.parametrize(("call", "line", "body"), CALLS.values(), ids=CALLS)
def test_each_call_is_one_request(
    server: FaultProxy, call: Callable[[LightkubeApi], Awaitable[Object | None]], line: str, body: Object | None
) -> None:
    always(server, ANSWER)
    assert called(server, call) in (ANSWER, None)
    (request,) = server.received
    assert f"{request.method} {request.path}" == line
    assert (json.loads(request.body) if request.body else None) == body


@pytest.mark.parametrize(
    ("merge", "content_type"),
    [(False, "application/strategic-merge-patch+json"), (True, "application/merge-patch+json")],
)
def test_a_patch_names_its_kind(server: FaultProxy, merge: bool, content_type: str) -> None:
    always(server, ANSWER)
    called(server, lambda api: api.patch(NODES, "n", {}, merge=merge))
    assert server.received[0].headers["content-type"] == content_type


def test_a_list_is_read_page_by_page(server: FaultProxy) -> None:
    def page(request: Received, _: FaultProxy) -> Answer:
        query = parse_qs(urlsplit(request.path).query)
        assert query["fieldSelector"] == ["spec.nodeName=n"]
        number = int(query.get("continue", ["0"])[0])
        metadata = {"resourceVersion": "7"} | ({"continue": str(number + 1)} if number < 2 else {})
        return Answer(body=json.dumps({"metadata": metadata, "items": [{"page": number}]}).encode())

    server.fault(lambda _: True, page)
    found = called(server, lambda api: api.list(PODS, field_selector="spec.nodeName=n"))
    assert found == {"metadata": {"resourceVersion": "7"}, "items": [{"page": 0}, {"page": 1}, {"page": 2}]}


def test_a_list_may_be_empty(server: FaultProxy) -> None:
    always(server, {"items": None})
    assert called(server, lambda api: api.list(PODS, namespace="x")) == {"metadata": {}, "items": []}


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_a_path_would_swallow_is_refused(server: FaultProxy, name: str) -> None:
    with pytest.raises(ApiError, match="no name of an object of secrets"):
        called(server, lambda api: api.get(SECRETS, name, "default"))
    assert not server.received


REFUSALS: dict[str, tuple[bytes, tuple[int, str, str]]] = {
    "a Status object": (b'{"reason":"Forbidden","message":"no"}', (403, "Forbidden", "no")),
    "a proxy's page": (b"<h1>no</h1>", (403, "Forbidden", "<h1>no</h1>")),
    "nothing": (b"", (403, "Forbidden", "no message")),
    "a list": (b"[]", (403, "Forbidden", "[]")),
}


@pytest.mark.parametrize(("body", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_an_error_with_its_status(server: FaultProxy, body: bytes, expected: tuple[int, str, str]) -> None:
    server.fault(lambda _: True, refusing(403, body))
    with pytest.raises(ApiError) as error:
        called(server, lambda api: api.get(NODES, "n"))
    assert (error.value.status, error.value.reason, error.value.message) == expected


def test_a_redirect_is_not_followed(server: FaultProxy) -> None:
    server.fault(lambda _: True, refusing(302, location="http://127.0.0.1:1/"))
    with pytest.raises(ApiError):
        called(server, lambda api: api.get(NODES, "n"))


def test_a_request_that_was_put_off_is_sent_again(server: FaultProxy) -> None:
    server.fault(lambda _: True, refusing(429, b"{}", retry_after="0"), times=2)
    always(server, ANSWER)
    assert called(server, lambda api: api.get(NODES, "n")) == ANSWER
    assert len(server.received) == 3


def test_a_request_is_put_off_a_few_times_at_most(server: FaultProxy) -> None:
    server.fault(lambda _: True, refusing(429, b"{}", retry_after="0"))
    with pytest.raises(ApiError) as error:
        called(server, lambda api: api.get(NODES, "n"))
    assert (error.value.status, len(server.received)) == (429, 5)


@pytest.mark.parametrize(("value", "seconds"), [("3", 3), ("3600", 10), ("", 1), ("soon", 1), ("-1", 1)])
def test_the_time_of_a_retry_is_bounded(value: str, seconds: float) -> None:
    assert client._retry_after(value) == seconds


@pytest.mark.parametrize("answer", [Answer(body=b"no JSON"), Answer(body=b"[]"), Answer(body=b"{}", length=100)])
def test_an_invalid_response_is_as_good_as_none(server: FaultProxy, answer: Answer) -> None:
    server.fault(lambda _: True, lambda _request, _proxy: answer)
    with pytest.raises(ApiUnreachable):
        called(server, lambda api: api.get(NODES, "n"))


def test_a_response_is_bounded(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_BODY", 1000)
    server.fault(lambda _: True, lambda _request, _proxy: Answer(body=b"x" * 2000))
    with pytest.raises(ApiUnreachable, match="more than 1000 bytes"):
        called(server, lambda api: api.get(NODES, "n"))


def test_all_pages_of_a_list_are_bounded(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that never ends, and the Services of a namespace, whose annotations anybody in it may fill."""
    monkeypatch.setattr(client, "MAX_LIST", {SERVICES: 200})
    always(server, {"metadata": {"continue": "more"}, "items": [{}] * 10})
    with pytest.raises(ApiError, match="the list of services has more than 200 bytes"):
        called(server, lambda api: api.list(SERVICES))
    assert 3 <= len(server.received) <= 10


def test_a_document_that_is_nested_without_end_is_none(server: FaultProxy) -> None:
    server.fault(lambda _: True, lambda _request, _proxy: Answer(body=b"[" * 1_000_000))
    with pytest.raises(ApiUnreachable, match="no JSON"):
        called(server, lambda api: api.get(NODES, "n"))


def test_a_server_that_is_away_is_unreachable() -> None:
    async def go() -> None:
        config = KubeConfig.from_server("http://127.0.0.1:1").get()
        assert config
        api = LightkubeApi(config)
        try:
            await api.get(NODES, "n")
        finally:
            await api.aclose()

    with pytest.raises(ApiUnreachable, match=r"^http://127\.0\.0\.1:1: "):
        asyncio.run(go())


def test_a_reload_takes_another_server_and_token(server: FaultProxy, tmp_path: Path) -> None:
    """A watch under way goes on; what is invalid changes nothing; a token's file is beside its kubeconfig."""
    always(server, ANSWER)
    (tmp_path / "token").write_text("second")

    def config(user: User) -> SingleConfig:
        one = KubeConfig.from_one(cluster=Cluster(server=server.url), user=user, fname=tmp_path / "k")
        return cast(SingleConfig, one.get())

    async def go() -> None:
        api = LightkubeApi(config(User(token="first")))
        try:
            await api.get(NODES, "n")
            with pytest.raises(ApiUnreachable, match="the kubeconfig: "):
                await api.reload(config(User(client_cert=__file__, client_key=__file__)))
            await api.get(NODES, "n")
            for token in ("between", "last"):
                await api.reload(config(User(token=token)))
            await api.reload(config(User(token_file="token")))
            await api.get(NODES, "n")
        finally:
            await api.aclose()

    asyncio.run(go())
    assert [one.headers["authorization"] for one in server.received] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


def watched(server: FaultProxy) -> list[WatchEvent]:
    async def go() -> list[WatchEvent]:
        async with connected(server) as api:
            events = api.watch(PODS, field_selector="spec.nodeName=n", resource_version="5")
            return [event async for event in events]

    return asyncio.run(go())


def test_a_watch_yields_each_line(server: FaultProxy) -> None:
    lines: list[Object] = [
        {"type": "ADDED", "object": {"a": "ä" * 50}},
        {"type": "BOOKMARK", "object": {}},
        {"type": "DELETED"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    server.fault(lambda _: True, lambda _request, _proxy: Answer(body=pieces))
    assert watched(server) == [(line["type"], line.get("object", {})) for line in lines]
    query = parse_qs(urlsplit(server.received[0].path).query)
    assert 0 < int(query.pop("timeoutSeconds")[0]) <= 60
    assert query == {
        "watch": ["1"],
        "fieldSelector": ["spec.nodeName=n"],
        "resourceVersion": ["5"],
        "allowWatchBookmarks": ["true"],
    }


def test_a_line_of_a_watch_is_bounded(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_EVENT", 1000)
    server.fault(lambda _: True, lambda _request, _proxy: Answer(body=[b"x" * 600, b"x" * 600]))
    with pytest.raises(ApiUnreachable, match="more than 1000 bytes"):
        watched(server)


def test_a_refused_watch_is_an_error(server: FaultProxy) -> None:
    server.fault(lambda _: True, refusing(403, b"{}"))
    with pytest.raises(ApiError):
        watched(server)
