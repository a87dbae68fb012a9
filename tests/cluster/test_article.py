"""The article's Pod, unchanged, on a node of a real cluster, with nginx in front."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.cluster.article import MANIFEST, MODULES, POD
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.node import ADDRESS, POD_IP, Node, running_node
from tests.support.cluster.pods import condition, wait_for_row
from tests.support.nginx import accepts, free_addresses, running_nginx
from tests.support.registry import Registry

NODE = "wagi-article"
CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
LISTENS = (ADDRESS, 3001)
# The article's values.yaml, with two addresses.
SERVER_BLOCK = """
  server {
    listen 0.0.0.0:8080;
    location / {
            proxy_pass http://WASINODE_IP:3001;
    }
  }
"""


@pytest.fixture(scope="module")
def node(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose mirror has the article's modules."""
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as started:
        yield started


@pytest.fixture(scope="module")
def pod(node: Node) -> Iterator[str]:
    """The article's Pod while it serves, in a namespace of its own; the namespace."""
    cluster = node.cluster
    namespace = cluster.new_namespace()
    wait_until(lambda: not accepts(LISTENS), 60, lambda: "port 3001, the article's, is taken on this machine")
    apply(cluster, namespace)
    yield namespace
    cluster.kubectl("delete", "-n", namespace, "-f", MANIFEST, "--ignore-not-found")


def apply(cluster: Cluster, namespace: str) -> None:
    """`kubectl apply -f wasi-example.yaml`, until all containers are ready."""
    cluster.kubectl("apply", "-n", namespace, "-f", MANIFEST)
    wait_for_row(cluster, POD, namespace, "5/5", "Running")


def get(path: str) -> httpx.Response:
    return httpx.get(f"http://{ADDRESS}:3001{path}", trust_env=False, timeout=30)


def test_get_nodes_shows_what_the_article_shows(cluster: Cluster, node: Node) -> None:
    name, status, _roles, _age, version, address, external, *_ = cluster.kubectl(
        "get", "nodes", node.name, "-o", "wide", "--no-headers"
    ).split()
    assert (name, status, address, external) == (NODE, "Ready", ADDRESS, "<none>")
    assert re.match(r"v?\d", version)


def test_describe_node_shows_the_article_s_label_and_taints(cluster: Cluster, node: Node) -> None:
    described = cluster.kubectl("describe", "node", node.name)
    assert "kubernetes.io/arch=wasm32-wagi\n" in described
    assert re.search(r"^Taints:\s+kubernetes.io/arch=wasm32-wagi:NoExecute\n", described, re.MULTILINE)
    assert re.search(r"^\s+kubernetes.io/arch=wasm32-wagi:NoSchedule\n", described, re.MULTILINE)


def test_the_pod_is_scheduled_and_ready(cluster: Cluster, pod: str) -> None:
    found = cluster.get("pod", POD, pod)
    assert found["spec"]["nodeName"] == NODE
    assert found["status"]["podIP"] == POD_IP
    assert {type_: condition(cluster, POD, pod, type_) for type_ in CONDITIONS} == dict.fromkeys(CONDITIONS, "True")
    assert {one["restartCount"] for one in found["status"]["containerStatuses"]} == {0}
    assert all("@sha256:" in one["imageID"] for one in found["status"]["containerStatuses"])


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/hello", 200, "hello world\n"),
        ("/hello/again", 200, "hello world\n"),
        ("/", 200, "<h1>wagi-gateway samples</h1>"),
        ("/error", 404, "This 404 was chosen by the guest.\n"),
        ("/log", 200, "Three lines were written to this module's log.\n"),
        ("/nowhere", 404, ""),
    ],
)
def test_the_routes(pod: str, path: str, status: int, text: str) -> None:
    assert pod
    response = get(path)
    assert response.status_code == status, response.text
    assert text in response.text


def test_the_route_that_calls_out(pod: str) -> None:
    """`api.brigade.sh` of the article need not exist any more."""
    assert pod
    response = get("/http-example")
    assert response.status_code == 200 or response.text.startswith("outbound request failed: ")


def test_logs_of_a_module(cluster: Cluster, pod: str) -> None:
    get("/log")
    line, container = "log: the request has arrived", f"{POD}-log"
    cluster.wait_for(lambda: line in cluster.kubectl("logs", POD, "-n", pod, "-c", container), "a line in the log", 20)
    assert cluster.kubectl("logs", POD, "-n", pod, "-c", f"{POD}-hello") == ""


def test_events_of_the_pod(cluster: Cluster, pod: str) -> None:
    cluster.wait_for(lambda: {"Pulling", "Pulled", "Started"} <= cluster.events(POD, pod).keys(), "events", 20)


def test_the_service_has_an_endpoint(cluster: Cluster, pod: str) -> None:
    cluster.kubectl("expose", "pod", POD, "-n", pod, "--name=demo", "--port=80", "--target-port=3001")

    def endpoints() -> list[tuple[list[str], bool]]:
        slices = cluster.list("endpointslices", pod, "-l", "kubernetes.io/service-name=demo")
        return [(one["addresses"], one["conditions"]["ready"]) for part in slices for one in part["endpoints"] or []]

    cluster.wait_for(lambda: endpoints() == [([POD_IP], True)], "an endpoint", 30)


def test_nginx_in_front(pod: str, tmp_path: Path) -> None:
    """`curl EXTERNAL_IP/hello`."""
    assert pod
    (address,) = free_addresses(1)
    block = SERVER_BLOCK.replace("0.0.0.0:8080", f"{address[0]}:{address[1]}").replace("WASINODE_IP", ADDRESS)
    with running_nginx(tmp_path, block, address):
        response = httpx.get(f"http://{address[0]}:{address[1]}/hello", trust_env=False)
        assert (response.status_code, response.text) == (200, "hello world\n")


def test_delete_frees_the_port_for_the_next_pod(cluster: Cluster, pod: str) -> None:
    cluster.kubectl("delete", "-n", pod, "-f", MANIFEST, "--timeout=40s")
    assert not accepts(LISTENS)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("0.0.0.0", LISTENS[1]))
    apply(cluster, pod)
    assert get("/hello").text == "hello world\n"


def test_every_module_of_the_article_is_there() -> None:
    assert sorted(re.findall(rf"name: {POD}-([\w-]+)\n", MANIFEST.read_text())) == sorted(MODULES)
