"""The shipped manifests and the chart, on a real API server with strict validation."""

from __future__ import annotations

import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.cluster.article import MANIFEST
from tests.support.cluster.cluster import Cluster, CommandFailed, Object
from tests.support.cluster.container_node import container_node

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "wagi-gateway-node"
KUSTOMIZATIONS = ("base", "node", "node-bootstrap", "runtimeclass")
MANIFESTS = [
    MANIFEST,
    MANIFEST.parent / "hello-wasi-nginx.yaml",
    KUBERNETES / "components" / "ingress" / "ingress.yaml",
]
CUSTOM = ("HTTPRoute", "ServiceMonitor")
"""Kinds of the example whose definitions a cluster has to be given first."""


def kustomize(cluster: Cluster, directory: Path) -> list[Object]:
    return list(yaml.safe_load_all(cluster.kubectl("kustomize", directory)))


def dry_run(cluster: Cluster, objects: list[Object]) -> None:
    """Validates objects by the API server, in which their namespaces exist."""
    for name in {one["metadata"].get("namespace") for one in objects} - {None}:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    documents = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=documents)


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_a_kustomization(cluster: Cluster, name: str) -> None:
    dry_run(cluster, kustomize(cluster, KUBERNETES / name))


def test_the_example(cluster: Cluster) -> None:
    objects = kustomize(cluster, KUBERNETES / "overlays" / "example")
    dry_run(cluster, [one for one in objects if one["kind"] not in CUSTOM])


def test_every_kustomization_is_checked() -> None:
    found = {path.parent.relative_to(KUBERNETES) for path in KUBERNETES.rglob("kustomization.yaml")}
    others = {Path("overlays/example"), *(path for path in found if path.parts[0] == "components")}
    assert {str(path) for path in found - others} == set(KUSTOMIZATIONS)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest(cluster: Cluster, manifest: Path) -> None:
    dry_run(cluster, list(yaml.safe_load_all(manifest.read_text())))


def test_a_typing_error_would_be_found(cluster: Cluster) -> None:
    objects = kustomize(cluster, KUBERNETES / "node")
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    deployment["spec"]["strategi"] = deployment["spec"].pop("strategy")
    with pytest.raises(CommandFailed, match="strategi"):
        dry_run(cluster, objects)


def test_helm_lint(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in cluster.helm("lint", "--strict", CHART)


@pytest.mark.parametrize(
    "options",
    ['name = "other"', 'state_directory = "/tmp"', 'max_pods = 3\nkubeconfig = "x"'],
)
def test_helm_refuses_options_that_the_chart_sets(cluster: Cluster, options: str) -> None:
    with pytest.raises(CommandFailed, match="options"):
        cluster.helm("lint", "--strict", CHART, "--set", f"options={options}")


def template(cluster: Cluster, *arguments: str) -> list[Object]:
    text = cluster.helm("template", "demo", str(CHART), "--namespace", "wagi-system", *arguments)
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.mark.parametrize("arguments", [(), ("--set", "hostNetwork=true")], ids=["defaults", "host-network"])
def test_helm_template(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    objects = template(cluster, *arguments)
    dry_run(cluster, objects)
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"].get("hostNetwork", False) is bool(arguments)


def test_the_chart_has_the_objects_of_the_kustomization(cluster: Cluster) -> None:
    """Kinds, rights and the Pod are the same; names and labels are the release's."""

    def without_names(objects: list[Object]) -> list[str]:
        found = []
        for one in objects:
            if one["kind"] in ("Namespace", "ConfigMap"):
                continue
            if one["kind"] == "Deployment":
                template = one["spec"]["template"]
                template["metadata"], one["spec"]["selector"] = {}, {}
                template["spec"].pop("serviceAccountName")
                template["spec"]["volumes"][0] = {}
                template["spec"]["containers"][0].pop("image")
            one["metadata"], one["subjects"] = {}, []
            one.get("roleRef", {}).pop("name", None)
            found.append(json.dumps(one, sort_keys=True))
        return sorted(found)

    assert without_names(template(cluster)) == without_names(kustomize(cluster, KUBERNETES / "node"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"name": "wagi", "max_pods": 20}),
        (("--set", "nodeName=two"), {"name": "two", "max_pods": 20}),
        (("--set", 'options=[registries."r.example"]\nmirror="m"'), {"registries": {"r.example": {"mirror": "m"}}}),
    ],
    ids=["defaults", "name", "tables"],
)
def test_options_of_the_chart(cluster: Cluster, arguments: tuple[str, ...], expected: Object) -> None:
    (config,) = (one for one in template(cluster, *arguments) if one["kind"] == "ConfigMap")
    found = tomllib.loads(config["data"]["node.toml"])
    assert {key: found.get(key) for key in expected} == expected


def test_helm_install_upgrade_and_uninstall(cluster: Cluster, namespace: str) -> None:
    name, values = "demo-wagi-gateway-node", ("-n", namespace, "--set", "runtimeClass.create=false")
    with container_node(cluster, "linux-helm"), ThreadPoolExecutor(1) as executor:
        installed = executor.submit(cluster.helm, "install", "demo", CHART, *values, "--wait", "--timeout", "60s")
        cluster.wait_for(lambda: cluster.list("pods", namespace), "the Pod of the chart")
        (pod,) = (one["metadata"]["name"] for one in cluster.list("pods", namespace))
        cluster.wait_for(lambda: cluster.jsonpath("pod", pod, "{.spec.nodeName}", namespace), "scheduled")
        ready = {"type": "Ready", "status": "True"}
        cluster.patch_status("pod", pod, {"phase": "Running", "conditions": [ready]}, namespace)
        assert "STATUS: deployed" in installed.result()
    checksum = "{.spec.template.metadata.annotations.checksum/config}"
    before = cluster.jsonpath("deployment", name, checksum, namespace)
    cluster.helm("upgrade", "demo", CHART, *values, "--set", "options=max_pods = 3")
    assert cluster.jsonpath("deployment", name, checksum, namespace) != before
    cluster.helm("uninstall", "demo", "-n", namespace)
    left = cluster.list("deployments,configmaps,serviceaccounts", namespace, "-l", "app.kubernetes.io/instance=demo")
    assert left == []


def test_the_name_of_the_node_is_that_of_its_rights(cluster: Cluster) -> None:
    name = tomllib.loads((KUBERNETES / "node" / "node.toml").read_text())["name"]
    roles = [one for one in kustomize(cluster, KUBERNETES / "node") if one["kind"] in ("ClusterRole", "Role")]
    names = {name for role in roles for rule in role["rules"] for name in rule.get("resourceNames", ())}
    assert names == {name}
