"""Who may ask the node what: 401, 403 and 500."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.node_api import ADMIN, READER, NodeApi, exec_path
from wagi_gateway.node.api import ApiError

FORBIDDEN = "Forbidden (user=prometheus, verb={}, resource=nodes, subresource={})\n"


@pytest.mark.parametrize(
    ("user", "token", "path", "status"),
    [
        (ADMIN, None, "/pods", 200),
        (READER, None, "/metrics/resource", 200),
        (READER, None, "/pods", 200),  # nodes/proxy stands for nodes/pods
        (None, "good", "/metrics", 200),
        (None, None, "/healthz", 200),
        (None, None, "/metrics", 401),
        (None, None, "/nothing", 401),
        (None, None, "/healthz/ping", 401),
        (None, "bad", "/metrics", 401),
        (READER, None, "/stats/summary", 403),
        (ADMIN, None, "/nothing", 404),
        (ADMIN, None, "/metrics/", 404),
    ],
)
def test_who_may_what(node_api: NodeApi, user: str | None, token: str | None, path: str, status: int) -> None:
    answer = node_api.get(path, user, token)
    assert answer.status_code == status
    if status == 401:
        assert answer.text == "Unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/stats/summary", ("get", "stats")),
        ("POST", "/pods", ("create", "pods,proxy")),
        ("GET", "/exec/default/demo/hello", ("create", "proxy")),
        ("POST", "/exec/default/demo/hello", ("create", "proxy")),
        ("GET", quote("/ex") + "%65c/default/demo/hello", ("create", "proxy")),
    ],
)
def test_a_user_without_the_right(node_api: NodeApi, method: str, path: str, words: tuple[str, str]) -> None:
    with node_api.client(READER) as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.text) == (403, FORBIDDEN.format(*words))


def test_a_reader_executes_nothing_over_a_websocket(node_api: NodeApi) -> None:
    refused = node_api.websocket(exec_path("demo", "hello", "GET", "/"), READER)
    assert (refused.status, refused.body.decode()) == (403, FORBIDDEN.format("create", "proxy"))
    unknown = node_api.websocket(exec_path("demo", "hello", "GET", "/"), None)
    assert (unknown.status, unknown.body) == (401, b"Unauthorized")
    health = node_api.websocket("/healthz", None)
    assert health.status == 401


def test_an_api_server_that_is_away_is_no_permission(node_api: NodeApi) -> None:
    node_api.api.failures.append(ApiError(503, "ServiceUnavailable", "away"))
    with node_api.client(READER) as client:
        answer = client.patch("/nothing")
    words = "Authorization error (user=prometheus, verb=patch, resource=nodes, subresource=proxy)"
    assert (answer.status_code, answer.text) == (500, words)
