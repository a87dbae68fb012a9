"""A node through crashes, silence, deletion and an absent API server: its Pods serve on, and the cluster shows it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.cluster.cluster import Cluster
from tests.support.cluster.control_plane import GRACE
from tests.support.cluster.load import steady_load
from tests.support.cluster.node import Node, a_node, running_node
from tests.support.cluster.pods import condition, hello, wagi_pod, wait_for_row
from tests.support.nginx import accepts, free_addresses
from tests.support.registry import Registry

AWAY = float(os.environ.get("WAGI_GATEWAY_TEST_AWAY") or 3 * GRACE)
"""Seconds without an API server: the cluster takes the node for dead, and the node's pauses have grown.
WAGI_GATEWAY_TEST_AWAY sets another number."""
NODE, POD = "wagi-node-faults", "steady"
READY = "{.status.conditions[?(@.type=='Ready')].status}"


class Served:
    """A Pod of the node."""

    def __init__(self, node: Node, namespace: str, url: str) -> None:
        self.node, self.namespace, self.url = node, namespace, url

    def wait_ready(self) -> None:
        """Waits until the cluster shows node and Pod as ready."""
        self.node.wait_ready()
        cluster = self.node.cluster
        cluster.wait_for(
            lambda: condition(cluster, POD, self.namespace) == "True", "Ready", pod=f"{self.namespace}/{POD}"
        )

    def identity(self) -> tuple[str, str, int]:
        """What changes when the container is started again."""
        status = self.node.cluster.get("pod", POD, self.namespace)["status"]["containerStatuses"][0]
        return status["containerID"], status["state"]["running"]["startedAt"], status["restartCount"]


@pytest.fixture(scope="module")
def node(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose mirror has the article's modules."""
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as started:
        yield started


@pytest.fixture(scope="module")
def served(node: Node, registry: Registry) -> Served:
    """A Pod that is Ready on the node."""
    namespace, ((host, port),) = node.cluster.new_namespace(), free_addresses(1)
    pod = wagi_pod(POD, f"{host}:{port}", hello(registry.address))
    node.cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    wait_for_row(node.cluster, POD, namespace, "1/1", "Running")
    return Served(node, namespace, f"http://{host}:{port}/hello")


def test_a_killed_node_adopts_its_pods(served: Served) -> None:
    before, processes = served.identity(), served.node.gateways()
    with steady_load(served.url) as load:
        served.node.kill()
        load.wait_for_more()
        served.node.start()
        served.wait_ready()
    assert served.node.gateways() == processes
    assert served.identity() == before


def test_a_silent_node_comes_back(cluster: Cluster, served: Served) -> None:
    """The node controller writes Ready=Unknown, and Ready=False into the Pods; a renewed Lease undoes neither."""
    before = served.identity()
    with steady_load(served.url):
        served.node.send(signal.SIGSTOP)
        cluster.wait_for(lambda: cluster.jsonpath("node", NODE, READY) == "Unknown", "Ready=Unknown", 6 * GRACE)
        cluster.wait_for(lambda: condition(cluster, POD, served.namespace) == "False", "the Pod is marked", 30)
        served.node.send(signal.SIGCONT)
        served.wait_ready()
    assert served.identity() == before


def test_an_api_server_that_is_away(cluster: Cluster, served: Served) -> None:
    """Longer than the grace period of the node; what was seen before is too old for a watch afterwards (410)."""
    before = served.identity()
    with steady_load(served.url) as load:
        cluster.control_plane.stop_api_server()
        load.wait_for_more(50)
        time.sleep(AWAY)
        cluster.control_plane.start_api_server()
        served.wait_ready()
    assert served.identity() == before


def test_pods_are_seen_after_a_compaction(cluster: Cluster, served: Served, registry: Registry) -> None:
    cluster.control_plane.compact()
    cluster.control_plane.restart_api_server()
    served.wait_ready()
    ((host, port),) = free_addresses(1)
    later = wagi_pod("later", f"{host}:{port}", hello(registry.address))
    cluster.kubectl("create", "-n", served.namespace, "-f", "-", stdin=later)
    wait_for_row(cluster, "later", served.namespace, "1/1", "Running")
    cluster.kubectl("delete", "pod", "later", "-n", served.namespace)
    assert not accepts((host, port))


def test_a_deleted_node_registers_again(cluster: Cluster, served: Served) -> None:
    before, uid = served.identity(), cluster.jsonpath("node", NODE, "{.metadata.uid}")
    with steady_load(served.url):
        cluster.kubectl("delete", "node", NODE)
        cluster.wait_for(lambda: cluster.jsonpath("node", NODE, "{.metadata.uid}") not in ("", uid), "a new Node")
        served.wait_ready()
    assert served.identity() == before


def test_labels_and_taints_are_restored(cluster: Cluster, served: Served) -> None:
    cluster.kubectl("label", "node", NODE, "kubernetes.io/arch=amd64", "--overwrite")
    label = "{.metadata.labels.kubernetes\\.io/arch}"
    cluster.wait_for(lambda: cluster.jsonpath("node", NODE, label) == "wasm32-wagi", "the label")
    assert httpx.get(served.url, trust_env=False).text == "hello world\n"


@pytest.mark.usefixtures("node")
def test_a_second_node_of_the_name_refuses_to_start(cluster: Cluster, tmp_path: Path) -> None:
    with a_node(cluster, tmp_path, NODE) as second:
        second.start()
        assert second.process
        assert second.process.wait(60) != 0
        assert NODE in second.log


def test_a_node_that_lost_its_lease_leaves_its_pods_to_the_other(
    cluster: Cluster, namespace: str, registry: Registry, tmp_path: Path
) -> None:
    """Its gateways serve until its next start, which ends them once the other node is known to live."""
    ((host, port),) = free_addresses(1)
    holder = "{.spec.holderIdentity}"
    with running_node(cluster, tmp_path / "1", "wagi-lost", mirror=registry.address, lease=4) as first:
        pod = wagi_pod("kept", f"{host}:{port}", hello(registry.address), node=first.name)
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
        wait_for_row(cluster, "kept", namespace, "1/1", "Running")
        gateways, before = first.gateways(), cluster.jsonpath("lease", first.name, holder, "kube-node-lease")
        with a_node(cluster, tmp_path / "2", first.name, kubeconfig=first.kubeconfig, lease=4) as second:
            first.send(signal.SIGSTOP)
            second.start()
            cluster.wait_for(
                lambda: cluster.jsonpath("lease", first.name, holder, "kube-node-lease") not in ("", before),
                "another holder",
            )
            first.send(signal.SIGCONT)
            assert first.process
            assert first.process.wait(60) == 3
            assert "has taken the Lease of the Node wagi-lost; this one ends; its Pods serve on" in first.log
            assert first.gateways() == gateways
            assert httpx.get(f"http://{host}:{port}/hello", trust_env=False).text == "hello world\n"
            first.start()
            assert first.process.wait(60) == 3
            assert "a node of this name is alive" in first.log
            assert first.gateways() == set()
            cluster.wait_for(second.gateways, "a gateway of the other node")
            wait_for_row(cluster, "kept", namespace, "1/1", "Running")


def test_a_stopped_node_ends_its_pods(cluster: Cluster, namespace: str, registry: Registry, tmp_path: Path) -> None:
    ((host, port),) = free_addresses(1)
    with running_node(cluster, tmp_path, "wagi-stopped", mirror=registry.address) as node:
        pod = wagi_pod("ending", f"{host}:{port}", hello(registry.address), node=node.name)
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
        wait_for_row(cluster, "ending", namespace, "1/1", "Running")
        assert node.stop() == 0
        cluster.wait_for(lambda: node.gateways() == set(), "no process of a Pod", 20)
        assert not accepts((host, port))
        assert cluster.jsonpath("node", node.name, READY) == "False"
