"""The endpoints of the node's API that have no module of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node_api import NodeApi


def test_health_and_pods(node_api: NodeApi, tmp_path: Path) -> None:
    assert node_api.get("/healthz", None).text == "ok"
    node_api.pods.add("demo", "hello", tmp_path / "0.log")
    document = node_api.get("/pods").json()
    assert (document["kind"], document["apiVersion"]) == ("PodList", "v1")
    assert [pod["metadata"]["name"] for pod in document["items"]] == ["demo"]


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/exec/default/demo/hello?command=ls", "SPDY is not supported"),
        ("GET", "/exec/default/demo/hello?command=ls", "exec needs WebSockets"),
        ("POST", "/attach/default/demo/hello", "attach is not supported: a module runs for the time of a request"),
        ("POST", "/portForward/default/demo", "port-forward is not supported"),
    ],
)
def test_what_a_node_of_modules_cannot_do(node_api: NodeApi, method: str, path: str, words: str) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "SPDY/3.1"} if method == "POST" else {}
    with node_api.client() as client:
        answer = client.request(method, path, headers=upgrade)
    assert (answer.status_code, words in answer.text) == (501, True), answer.text


@pytest.mark.parametrize("path", ["/attach/default/demo/hello", "/portForward/default/demo"])
def test_nor_over_a_websocket(node_api: NodeApi, path: str) -> None:
    refused = node_api.websocket(path)
    assert (refused.status, b"is not supported" in refused.body) == (501, True)
