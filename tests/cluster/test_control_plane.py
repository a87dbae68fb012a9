"""The control plane of these tests is a real and current one."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT
from tests.support.cluster.article import MANIFEST, POD, REGISTRY
from tests.support.cluster.cluster import Cluster, CommandFailed
from tests.support.registry import Registry

NO_SUCH_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "typing-error"},
    "spec": {"containers": [{"name": "c", "image": "i", "imagePullPolcy": "Always"}]},
}


def test_all_programs_are_of_one_version(cluster: Cluster) -> None:
    versions = json.loads(cluster.kubectl("version", "-o", "json"))
    pinned = re.findall(r"^\tk8s.io/kubernetes (v\S+)", (ROOT / "tests/cluster/control_plane/go.mod").read_text(), re.M)
    assert [versions["serverVersion"]["gitVersion"], versions["clientVersion"]["gitVersion"]] == pinned * 2


def test_the_article_s_pod_is_accepted_and_waits_for_its_node(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "--validate=strict", "-f", MANIFEST)
    cluster.wait_for(lambda: "FailedScheduling" in cluster.events(POD, namespace), "FailedScheduling")
    assert cluster.jsonpath("pod", POD, "{.status.phase}", namespace) == "Pending"


def test_a_typing_error_is_refused(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(CommandFailed, match="imagePullPolcy"):
        cluster.kubectl("create", "-n", namespace, "--validate=strict", "-f", "-", stdin=NO_SUCH_POD)


def test_objects_outlive_a_restart_of_the_api_server(cluster: Cluster, namespace: str) -> None:
    before = cluster.control_plane.pid("kube-apiserver")
    cluster.control_plane.stop_api_server()
    assert cluster.control_plane.status("/readyz") == 0
    with pytest.raises(CommandFailed, match="refused"):
        cluster.get("namespace", namespace)
    cluster.control_plane.start_api_server()
    assert cluster.control_plane.pid("kube-apiserver") != before
    assert cluster.get("namespace", namespace)["status"]["phase"] == "Active"


def test_a_service_account_has_only_its_rights(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "default")
    with pytest.raises(CommandFailed, match=f"system:serviceaccount:{namespace}:default"):
        cluster.kubectl("get", "nodes", user=account)


def test_the_registry_has_the_article_s_images(registry: Registry) -> None:
    images = re.findall(rf"image: {REGISTRY}/([\w-]+):v1.0.0", MANIFEST.read_text())
    repositories = registry.data / "docker/registry/v2/repositories"
    assert sorted(path.name for path in repositories.iterdir()) == sorted(images)
