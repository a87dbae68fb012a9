"""Pods with addresses of their own on two nodes: a Deployment, a Service, a rolling update, and a drain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import pytest

from tests.support.cluster.cluster import Cluster, CommandFailed, Object
from tests.support.cluster.network_namespace import NetworkNamespace, network_namespace
from tests.support.cluster.node import Node, a_node
from tests.support.cluster.pods import deployment, wagi_pod
from tests.support.cluster.round_robin import round_robin
from tests.support.publishing import publish, says
from tests.support.registry import Registry

RANGES = {"wagi-addresses-1": "10.81.1.0/28", "wagi-addresses-2": "10.81.2.0/28"}
NAME, PORT = "rolling", 8080
TARGET = f"{PORT}/rolling"


@pytest.fixture(scope="module")
def network(cluster: Cluster, registry: Registry) -> Iterator[NetworkNamespace]:
    """A network namespace with the addresses of both nodes' Pods, from which API server and registry are reached."""
    ports = (cluster.control_plane.port, int(registry.address.rpartition(":")[2]))
    with network_namespace(tuple(RANGES.values()), ports) as found:
        yield found


@pytest.fixture(scope="module")
def nodes(
    cluster: Cluster, network: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Node]]:
    """Two nodes in it, each with a range of addresses."""
    with ExitStack() as stack:
        found = []
        for name, cidr in RANGES.items():
            options = f'pod_cidr = "{cidr}"\nlabels = {{ pool = "addresses" }}'
            directory = tmp_path_factory.mktemp(name)
            node = stack.enter_context(a_node(cluster, directory, name, options=options, prefix=network.prefix))
            stack.callback(cluster.kubectl, "delete", "node", name, "--ignore-not-found", "--wait=false")
            node.start()
            found.append(node)
        for node in found:
            node.wait_ready()
        yield found


@pytest.fixture(scope="module")
def served(cluster: Cluster, registry: Registry, nodes: list[Node]) -> str:
    """Four replicas on two nodes, behind a Service; the namespace."""
    assert nodes
    for version in ("1", "2"):
        publish(registry, f"{NAME}:{version}", says(f"version {version}"))
    namespace = cluster.new_namespace()
    pod = wagi_pod(NAME, f"0.0.0.0:{PORT}", {NAME: f"{registry.address}/{NAME}:1"})
    del pod["spec"]["hostNetwork"]
    pod["spec"]["nodeSelector"]["pool"] = "addresses"
    (container,) = pod["spec"]["containers"]
    container["ports"] = [{"containerPort": PORT}]
    container["readinessProbe"] = {"httpGet": {"path": "/rolling", "port": PORT}, "periodSeconds": 1}
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    strategy = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    for document in (service, deployment(pod, 4, strategy=strategy)):
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=document)
    wait_for_replicas(cluster, namespace, 4)
    return namespace


def wait_for_replicas(cluster: Cluster, namespace: str, count: int) -> None:
    """Waits until so many Pods are Ready, and no other ones are there."""
    cluster.kubectl("rollout", "status", f"deployment/{NAME}", "-n", namespace, "--timeout=100s")
    cluster.wait_for(lambda: len(cluster.list("pods", namespace)) == count, f"{count} Pods")


def addresses(cluster: Cluster, namespace: str) -> dict[str, list[str]]:
    """The addresses of the Pods of each node."""
    found: dict[str, list[str]] = {}
    for pod in cluster.list("pods", namespace):
        found.setdefault(pod["spec"]["nodeName"], []).append(pod["status"]["podIP"])
    return found


def test_a_node_has_no_more_room_than_addresses(cluster: Cluster, nodes: list[Node]) -> None:
    assert cluster.jsonpath("node", nodes[0].name, "{.status.allocatable.pods}") == "14"


def test_replicas_have_addresses_of_their_nodes(cluster: Cluster, served: str) -> None:
    found = addresses(cluster, served)
    assert found.keys() == RANGES.keys()
    assert len({ip for ips in found.values() for ip in ips}) == 4
    for node, ips in found.items():
        assert [ip for ip in ips if ip_address(ip) not in ip_network(RANGES[node])] == []


def test_no_request_fails_in_a_rolling_update_and_while_it_is_scaled(
    cluster: Cluster, served: str, registry: Registry, network: NetworkNamespace
) -> None:
    with round_robin(cluster, served, NAME, TARGET, network.prefix) as load:
        load.wait_for("version 1")
        image = f"{NAME}={registry.address}/{NAME}:2"
        cluster.kubectl("set", "image", f"deployment/{NAME}", "-n", served, image)
        wait_for_replicas(cluster, served, 4)
        load.wait_for("version 2")
        before = set(load.addresses)
        cluster.kubectl("scale", f"deployment/{NAME}", "-n", served, "--replicas=6")
        wait_for_replicas(cluster, served, 6)
        load.wait_for("version 2", 30)
        assert len(load.addresses - before) == 2
        cluster.kubectl("scale", f"deployment/{NAME}", "-n", served, "--replicas=4")
        wait_for_replicas(cluster, served, 4)
        load.wait_for("version 2")
    assert min(load.ready) >= 4


def test_a_drain_respects_a_disruption_budget(
    cluster: Cluster, served: str, nodes: list[Node], network: NetworkNamespace
) -> None:
    budget = ("create", "poddisruptionbudget", NAME, f"--selector=app={NAME}", "-n", served)
    cluster.kubectl(*budget, "--min-available=4")
    path = "{.status.disruptionsAllowed}/{.status.currentHealthy}"
    cluster.wait_for(lambda: cluster.jsonpath("pdb", NAME, path, served) == "0/4", "no disruption is permitted")
    drain = ("drain", nodes[0].name, "--ignore-daemonsets", f"--pod-selector=app={NAME}")
    with pytest.raises(CommandFailed, match="violate the pod's disruption budget"):
        cluster.kubectl(*drain, "--timeout=2s")
    patch = json.dumps({"spec": {"minAvailable": 3}})
    cluster.kubectl("patch", "pdb", NAME, "-n", served, "--type=merge", "--patch", patch)
    with round_robin(cluster, served, NAME, TARGET, network.prefix) as load:
        load.wait_for("version 2")
        cluster.kubectl(*drain, "--timeout=100s")
        wait_for_replicas(cluster, served, 4)
        load.wait_for("version 2")
    assert min(load.ready) >= 3
    assert addresses(cluster, served).keys() == {nodes[1].name}
    cluster.kubectl("uncordon", nodes[0].name)
