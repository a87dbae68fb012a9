"""Pods with something wrong: what their author sees by kubectl, and how they recover."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from urllib.request import Request, urlopen

import httpx
import pytest

from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.node import Node, running_node
from tests.support.cluster.pods import condition, hello, row, wagi_pod, wait_for_row
from tests.support.nginx import free_addresses
from tests.support.registry import Registry

NODE = "wagi-pod-faults"
MODULES = "alpha.wagi.krustlet.dev/modules"


@pytest.fixture(scope="module")
def node(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose mirror has the article's modules."""
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as started:
        yield started


@pytest.fixture
def address() -> str:
    """A free address for a Pod."""
    ((host, port),) = free_addresses(1)
    return f"{host}:{port}"


def create(cluster: Cluster, namespace: str, pod: Object) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod)


def messages(cluster: Cluster, name: str, namespace: str) -> str:
    """What `kubectl describe pod` shows."""
    return cluster.kubectl("describe", "pod", name, "-n", namespace)


def wait_for_status(cluster: Cluster, namespace: str, name: str, *statuses: str) -> None:
    """Waits for one of these texts in the column STATUS."""
    cluster.wait_for(
        lambda: row(cluster, name, namespace)[1:] in [[one] for one in statuses],
        " or ".join(statuses),
        pod=f"{namespace}/{name}",
    )


def pushed_layer(registry: Registry, name: str, media_type: str) -> str:
    """Pushes an image with one layer of a media type; returns its reference."""

    def request(method: str, path: str, data: bytes | None = None, **headers: str) -> str:
        url = path if path.startswith("http") else f"{registry.url}{path}"
        with urlopen(Request(url, data, headers, method=method)) as response:
            return str(response.headers.get("Location") or response.headers["Docker-Content-Digest"])

    def blob(data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = request("POST", f"/v2/{name}/blobs/uploads/", b"")
        request("PUT", f"{place}&digest={digest}", data, **{"Content-Type": "application/octet-stream"})
        return {"digest": digest, "size": len(data)}

    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(b"{}")},
        "layers": [{"mediaType": media_type, **blob(b"not a module")}],
    }
    request("PUT", f"/v2/{name}/manifests/1", json.dumps(manifest).encode(), **{"Content-Type": manifest_type})
    return f"{registry.address}/{name}:1"


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("not json", "JSON"),
        ('{"hello": {}}', "route"),
        ('{"hello": {"route": "/hello"}, "other": {"route": "/other"}}', "other"),
    ],
    ids=["no-json", "no-route", "no-container"],
)
def test_a_bad_annotation(
    cluster: Cluster, namespace: str, registry: Registry, address: str, annotation: str, message: str
) -> None:
    pod = wagi_pod("annotated", address, hello(registry.address))
    pod["metadata"]["annotations"][MODULES] = annotation
    create(cluster, namespace, pod)
    wait_for_status(cluster, namespace, "annotated", "CreateContainerConfigError")
    assert MODULES in messages(cluster, "annotated", namespace)
    assert message in messages(cluster, "annotated", namespace)


@pytest.mark.usefixtures("node")
def test_a_wrong_media_type(cluster: Cluster, namespace: str, registry: Registry, address: str) -> None:
    image = pushed_layer(registry, "wrong-type", "application/vnd.example.layer")
    create(cluster, namespace, wagi_pod("typed", address, {"typed": image}))
    wait_for_status(cluster, namespace, "typed", "ErrImagePull", "ImagePullBackOff")
    assert "application/vnd.example.layer" in messages(cluster, "typed", namespace)


@pytest.mark.usefixtures("node")
def test_a_registry_that_is_down(cluster: Cluster, namespace: str, address: str) -> None:
    ((host, port),) = free_addresses(1)
    create(cluster, namespace, wagi_pod("pulling", address, hello(f"{host}:{port}")))
    wait_for_status(cluster, namespace, "pulling", "ErrImagePull", "ImagePullBackOff")
    assert f"{host}:{port}" in messages(cluster, "pulling", namespace)


@pytest.mark.usefixtures("node")
def test_a_missing_secret(cluster: Cluster, namespace: str, registry: Registry, address: str) -> None:
    """The Pod starts by itself once the Secret is there."""
    pod = wagi_pod("secretive", address, hello(registry.address))
    reference = {"secretKeyRef": {"name": "password", "key": "text"}}
    pod["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "valueFrom": reference}]
    create(cluster, namespace, pod)
    wait_for_status(cluster, namespace, "secretive", "CreateContainerConfigError")
    assert 'secret "password" not found' in messages(cluster, "secretive", namespace)
    cluster.kubectl("create", "secret", "generic", "password", "-n", namespace, "--from-literal=text=x")
    wait_for_row(cluster, "secretive", namespace, "1/1", "Running")


@pytest.mark.usefixtures("node")
def test_a_port_that_is_taken(cluster: Cluster, namespace: str, registry: Registry) -> None:
    """The Pod starts by itself once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        create(cluster, namespace, wagi_pod("second", address, hello(registry.address)))
        cluster.wait_for(lambda: address in messages(cluster, "second", namespace), "the port is taken")
        assert "taken" in messages(cluster, "second", namespace)
        assert condition(cluster, "second", namespace) == "False"
    wait_for_row(cluster, "second", namespace, "1/1", "Running")


def test_a_killed_process_is_started_again(
    cluster: Cluster, namespace: str, registry: Registry, node: Node, address: str
) -> None:
    others = node.gateways()
    create(cluster, namespace, wagi_pod("killed", address, hello(registry.address)))
    wait_for_row(cluster, "killed", namespace, "1/1", "Running")
    for pid in node.gateways() - others:
        os.kill(pid, signal.SIGKILL)
    path = "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}"
    cluster.wait_for(lambda: cluster.jsonpath("pod", "killed", path, namespace) == "1 true", "restarted and ready")
    ended = cluster.get("pod", "killed", namespace)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert httpx.get(f"http://{address}/hello", trust_env=False).text == "hello world\n"


@pytest.mark.usefixtures("node")
def test_a_forced_deletion(cluster: Cluster, namespace: str, registry: Registry, address: str) -> None:
    create(cluster, namespace, wagi_pod("forced", address, hello(registry.address)))
    wait_for_row(cluster, "forced", namespace, "1/1", "Running")
    cluster.kubectl("delete", "pod", "forced", "-n", namespace, "--grace-period=0", "--force")
    host, _, port = address.partition(":")

    def is_free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    cluster.wait_for(is_free, "the port is free")


def test_a_pod_that_does_not_restart_takes_an_image_and_ends_with_a_finalizer(
    cluster: Cluster, namespace: str, registry: Registry, node: Node, address: str
) -> None:
    """The API server refuses that a container of `restartPolicy: Never` runs or waits after it has terminated."""
    pod = wagi_pod("once", address, hello(registry.address))
    pod["spec"]["restartPolicy"] = "Never"
    pod["metadata"]["finalizers"] = ["example.com/hold"]
    create(cluster, namespace, pod)
    wait_for_row(cluster, "once", namespace, "1/1", "Running")
    image = hello(registry.address)["hello"].replace("-hello:", "-error:")
    cluster.kubectl("set", "image", "pod/once", f"hello={image}", "-n", namespace)
    path = "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}"
    cluster.wait_for(lambda: cluster.jsonpath("pod", "once", path, namespace) == "1 true", "restarted and ready")
    cluster.kubectl("delete", "pod", "once", "-n", namespace, "--wait=false")
    folder = node.state / "pods" / cluster.jsonpath("pod", "once", "{.metadata.uid}", namespace)
    cluster.wait_for(lambda: not folder.exists(), "the Pod has ended on the node")
    cluster.kubectl(
        "patch", "pod", "once", "-n", namespace, "--type=merge", "--patch", '{"metadata":{"labels":{"a":"b"}}}'
    )
    shown = cluster.get("pod", "once", namespace)["status"]
    assert shown["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    cluster.kubectl(
        "patch", "pod", "once", "-n", namespace, "--type=merge", "--patch", '{"metadata":{"finalizers":[]}}'
    )
    cluster.wait_for(lambda: not row(cluster, "once", namespace), "the Pod is gone")
    assert "may not be transitioned" not in node.log
