"""WAGI Pods are scheduled to WAGI nodes alone, and other Pods to other nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.container_node import container_node
from tests.support.cluster.node import Node, running_node
from tests.support.cluster.pods import TOLERATIONS, hello, wagi_pod
from tests.support.nginx import free_addresses
from tests.support.registry import Registry

NODE, OTHER = "wagi-scheduling", "linux-scheduling"
CONTAINER_POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "ordinary"},
    "spec": {"containers": [{"name": "nginx", "image": "nginx"}]},
}


@pytest.fixture(scope="module")
def node(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A WAGI node."""
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as started:
        yield started


@pytest.fixture
def other_node(cluster: Cluster) -> Iterator[str]:
    """An ordinary node."""
    with container_node(cluster, OTHER) as name:
        yield name


def node_of(cluster: Cluster, pod: str, namespace: str) -> str:
    return cluster.jsonpath("pod", pod, "{.spec.nodeName}", namespace)


def unscheduled(cluster: Cluster, pod: str, namespace: str) -> str:
    """Why the scheduler has found no node."""
    cluster.wait_for(lambda: "FailedScheduling" in cluster.events(pod, namespace), "FailedScheduling")
    return cluster.events(pod, namespace)["FailedScheduling"]


@pytest.mark.usefixtures("node")
def test_a_container_pod_is_not_scheduled_to_a_wagi_node(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=CONTAINER_POD)
    assert "untolerated taint(s)" in unscheduled(cluster, "ordinary", namespace)
    assert node_of(cluster, "ordinary", namespace) == ""


@pytest.mark.usefixtures("node")
def test_a_container_pod_is_scheduled_to_another_node(cluster: Cluster, namespace: str, other_node: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=CONTAINER_POD)
    cluster.wait_for(lambda: node_of(cluster, "ordinary", namespace) == other_node, "scheduled", 60)


@pytest.mark.usefixtures("other_node")
def test_a_wagi_pod_is_not_scheduled_to_another_node(cluster: Cluster, namespace: str) -> None:
    pod = wagi_pod("wanderer", "127.0.0.1:1", {"hello": "example.invalid/hello:1"}, node=OTHER)
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    assert "didn't match Pod's node affinity/selector" in unscheduled(cluster, "wanderer", namespace)


def test_a_runtime_class_stands_for_selector_and_tolerations(
    cluster: Cluster, namespace: str, node: Node, registry: Registry
) -> None:
    cluster.kubectl("apply", "-k", ROOT / "deploy/kubernetes/runtimeclass")
    ((host, port),) = free_addresses(1)
    pod = wagi_pod("short", f"{host}:{port}", hello(registry.address))
    del pod["spec"]["nodeSelector"], pod["spec"]["tolerations"]
    pod["spec"]["runtimeClassName"] = "wagi"
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    cluster.wait_for(lambda: node_of(cluster, "short", namespace) == node.name, "scheduled", 60)
    spec = cluster.get("pod", "short", namespace)["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "wasm32-wagi"}
    assert [one for one in TOLERATIONS if one not in spec["tolerations"]] == []
