"""What Pods expect of a kubelet beside serving: Services, files by `subPath`, hooks, kubectl debug and drain."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.node import Node, running_node
from tests.support.cluster.pods import hello, row, wagi_pod, wait_for_row
from tests.support.nginx import free_addresses
from tests.support.registry import Registry

NODE = "wagi-pod-features"


@pytest.fixture(scope="module")
def node(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose Pods are of these tests."""
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as started:
        yield started


def a_pod(name: str, registry: Registry, **container: object) -> Object:
    """A Pod on the node; `container` are fields of its only container."""
    ((host, port),) = free_addresses(1)
    pod = wagi_pod(name, f"{host}:{port}", hello(registry.address), node=NODE)
    pod["spec"]["containers"][0] |= container
    return pod


def module_of(node: Node, pod: Object) -> tuple[Object, Path]:
    """The `[[module]]` of the only container of a Pod, and the folder of the Pod on the node."""
    folder = node.state / "pods" / pod["metadata"]["uid"]
    (module,) = tomllib.loads((folder / "modules.toml").read_text())["module"]
    return module, folder


def test_services_and_files(cluster: Cluster, namespace: str, registry: Registry, node: Node) -> None:
    """The variables of Services, and a ConfigMap mounted as a file."""
    cluster.kubectl("create", "configmap", "settings", "-n", namespace, "--from-literal=app.conf=one")
    cluster.kubectl("create", "service", "clusterip", "my-db", "--tcp=5432", "-n", namespace)
    cluster.kubectl("create", "service", "clusterip", "none", "--clusterip=None", "-n", namespace)
    pod = a_pod(
        "linked",
        registry,
        env=[{"name": "DATABASE", "value": "$(MY_DB_PORT)"}],
        volumeMounts=[{"name": "settings", "mountPath": "/etc/app.conf", "subPath": "app.conf"}],
        lifecycle={"postStart": {"sleep": {"seconds": 1}}},
        securityContext={"allowPrivilegeEscalation": False},
    )
    pod["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}]
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    wait_for_row(cluster, "linked", namespace, "1/1", "Running")
    module, folder = module_of(node, cluster.get("pod", "linked", namespace))
    address = cluster.jsonpath("service", "my-db", "{.spec.clusterIP}", namespace)
    environment = module["environment"]
    assert environment["MY_DB_SERVICE_HOST"] == address
    assert environment["DATABASE"] == f"tcp://{address}:5432"
    assert environment["KUBERNETES_SERVICE_HOST"] == cluster.jsonpath("service", "kubernetes", "{.spec.clusterIP}")
    assert not [name for name in environment if name.startswith("NONE_")]
    settings = Path(module["volumes"]["/etc"]["path"])
    assert settings.is_relative_to(folder)
    assert {path.name: path.read_text() for path in settings.iterdir()} == {"app.conf": "one"}


@pytest.mark.usefixtures("node")
def test_kubectl_debug_says_why_it_cannot(cluster: Cluster, namespace: str, registry: Registry) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=a_pod("debugged", registry))
    wait_for_row(cluster, "debugged", namespace, "1/1", "Running")
    cluster.kubectl("debug", "debugged", "-n", namespace, "--image=busybox", "-c", "debugger", "--attach=false")
    path = "{.status.ephemeralContainerStatuses[0].state.terminated.message}"
    cluster.wait_for(lambda: "no process to debug" in cluster.jsonpath("pod", "debugged", path, namespace), "refused")
    seen = "ephemeral containers (debugger) are not started"
    cluster.wait_for(lambda: seen in cluster.kubectl("describe", "pod", "debugged", "-n", namespace), seen)
    assert row(cluster, "debugged", namespace) == ["1/1", "Running"]


def test_kubectl_drain_evicts_and_a_shutdown_leaves_failed_pods(
    cluster: Cluster, namespace: str, registry: Registry, node: Node
) -> None:
    """An evicted Pod is gone, as with a kubelet; one whose node is stopped has failed. The last test of the node."""
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=a_pod("evicted", registry))
    wait_for_row(cluster, "evicted", namespace, "1/1", "Running")
    cluster.kubectl("drain", NODE, "--force", "--ignore-daemonsets", "--timeout=60s", "--pod-selector=app=evicted")
    assert row(cluster, "evicted", namespace) == []
    cluster.kubectl("uncordon", NODE)
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=a_pod("stopped", registry))
    wait_for_row(cluster, "stopped", namespace, "1/1", "Running")
    assert node.stop() == 0
    stopped = cluster.get("pod", "stopped", namespace)["status"]
    assert (stopped["phase"], stopped["reason"]) == ("Failed", "Terminated")
    assert stopped["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    disruption = next(one for one in stopped["conditions"] if one["type"] == "DisruptionTarget")
    assert (disruption["status"], disruption["reason"]) == ("True", "TerminationByKubelet")
