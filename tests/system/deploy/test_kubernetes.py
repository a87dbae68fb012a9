"""The manifests: valid for every supported Kubernetes, restricted, and consistent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.conftest import ROOT
from tests.system.deploy.kustomize import Resource, build
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.settings import Config
from wagi_gateway.config.values import parse_listen

MANIFESTS = ROOT / "deploy/kubernetes"
BASE, EXAMPLE = MANIFESTS / "base", MANIFESTS / "overlays/example"
SCHEMAS = Path(__file__).parent / "schemas"
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
"""The first release whose preStop has `sleep`."""
CUSTOM = ("HTTPRoute", "ServiceMonitor")
"""Kinds that Kubernetes itself does not define."""
MIB = 2**20


def everything() -> list[Resource]:
    """The resources of the example, and of the components that the example leaves out."""
    ingress = yaml.safe_load((MANIFESTS / "components/ingress/ingress.yaml").read_text())
    return [*build(EXAMPLE), ingress]


def name_of(resource: Resource) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def one(kind: str, resources: list[Resource] | None = None) -> Resource:
    (found,) = (resource for resource in resources or everything() if resource["kind"] == kind)
    return found


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    assert isinstance(only, dict)
    return only


def settings(directory: Path) -> Config:
    """The modules.toml of a kustomization."""
    file = config_from_tables(Path("modules.toml"), tomllib.loads((directory / "modules.toml").read_text()))
    assert file.problems == ()
    return file.config


def size(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert match
    return int(match[1]) * MIB * (1024 if match[2] == "Gi" else 1)


def closed(schema: Any) -> Any:
    """A schema that refuses unknown keys, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


@pytest.mark.parametrize("resource", [r for r in everything() if r["kind"] not in CUSTOM], ids=name_of)
def test_kubernetes_accepts_it(resource: Resource) -> None:
    for version in VERSIONS:
        assert kubernetes_validate.validate(resource, version, strict=True) == version


@pytest.mark.parametrize(
    ("kind", "schema"), [("HTTPRoute", "httproute-gateway-v1"), ("ServiceMonitor", "servicemonitor-monitoring-v1")]
)
def test_its_own_definition_accepts_it(kind: str, schema: str) -> None:
    definition = closed(json.loads((SCHEMAS / f"{schema}.json").read_text()))
    definition["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator(definition).validate(one(kind))


@pytest.mark.parametrize("path", ["spec/replicsa", "spec/template/spec/containers/0/livenessProb"])
def test_a_slip_of_the_pen_would_be_found(path: str) -> None:
    resource = one("Deployment")
    *parents, last = path.split("/")
    place: Any = resource
    for step in parents:
        place = place[int(step) if step.isdigit() else step]
    place[last] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("kind", ["HTTPRoute", "ServiceMonitor"])
def test_a_slip_of_the_pen_in_a_custom_resource_would_be_found(kind: str) -> None:
    (file,) = SCHEMAS.glob(f"{kind.lower()}-*.json")
    definition = closed(json.loads(file.read_text()))
    definition["properties"]["metadata"] = {"type": "object"}
    resource = one(kind)
    resource["spec"]["slip"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(definition).validate(resource)


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_kubectl_builds_the_same(directory: Path) -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(directory)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # no warning, either

    def comparable(resources: list[Resource]) -> list[str]:
        text = (
            re.sub(r"wagi-gateway-[0-9a-z]{10}\b", "wagi-gateway-HASH", json.dumps(r, sort_keys=True))
            for r in resources
        )
        return sorted(text)

    assert comparable(build(directory)) == comparable(list(yaml.safe_load_all(done.stdout)))


# The Pod Security Standards, profile "restricted", point by point, those of "baseline" included:
# https://kubernetes.io/docs/concepts/security/pod-security-standards/


def test_restricted_host_namespaces() -> None:
    assert pod().keys().isdisjoint({"hostNetwork", "hostPID", "hostIPC"})
    assert all("hostPort" not in port for port in container()["ports"])


def test_restricted_privileged_containers() -> None:
    assert container()["securityContext"]["privileged"] is False


def test_restricted_capabilities() -> None:
    assert container()["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_restricted_volume_types() -> None:
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    assert {kind for volume in pod()["volumes"] for kind in volume if kind != "name"} <= allowed


def test_restricted_privilege_escalation() -> None:
    assert container()["securityContext"]["allowPrivilegeEscalation"] is False


def test_restricted_running_as_non_root() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True


def test_restricted_non_root_user() -> None:
    assert pod()["securityContext"]["runAsUser"] > 0
    assert "runAsUser" not in container()["securityContext"]


def test_restricted_seccomp() -> None:
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "seccompProfile" not in container()["securityContext"]


def test_restricted_all_the_rest() -> None:
    """AppArmor, SELinux, /proc mounts, sysctls and host probes keep the cluster's defaults."""
    assert (
        pod()["securityContext"].keys().isdisjoint({"appArmorProfile", "seLinuxOptions", "sysctls", "windowsOptions"})
    )
    assert container()["securityContext"].keys().isdisjoint({"appArmorProfile", "seLinuxOptions", "procMount"})
    annotations = one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if "apparmor" in name]
    assert all(
        "host" not in container()[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    )
    assert pod().keys().isdisjoint({"initContainers", "ephemeralContainers"})


def test_stricter_than_restricted() -> None:
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod()["automountServiceAccountToken"] is False
    assert one("ServiceAccount")["automountServiceAccountToken"] is False
    assert one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_labels_match_selectors() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    service = one("Service")
    selectors = [
        one("Deployment")["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in pod()["topologySpreadConstraints"]),
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    monitored = one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= service["metadata"]["labels"].items()


def test_names_lead_somewhere() -> None:
    there = {name_of(resource) for resource in everything()}
    (rule,) = one("HTTPRoute")["spec"]["rules"]
    (path,) = one("Ingress")["spec"]["rules"][0]["http"]["paths"]
    target = one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    (config,) = (volume["configMap"]["name"] for volume in pod()["volumes"] if "configMap" in volume)
    assert f"ServiceAccount/{pod()['serviceAccountName']}" in there
    assert {f"Service/{backend['name']}" for backend in rule["backendRefs"]} <= there
    assert f"Service/{path['backend']['service']['name']}" in there
    assert f"{target['kind']}/{target['name']}" in there
    assert f"ConfigMap/{config}" in there
    assert {mount["name"] for mount in container()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


def test_everything_is_in_one_namespace() -> None:
    built = [resource for resource in build(EXAMPLE) if resource["kind"] != "Namespace"]
    assert {resource["metadata"]["namespace"] for resource in built} == {one("Namespace")["metadata"]["name"]}


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_ports_are_those_the_gateway_listens_on(directory: Path) -> None:
    config = settings(directory)
    assert config.admin.listen
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert {"http": parse_listen(config.server.listen)[1], "admin": parse_listen(config.admin.listen)[1]} == ports
    assert {parse_listen(listen)[0] for listen in (config.server.listen, config.admin.listen)} == {"0.0.0.0"}


def test_ports_that_are_named_are_there() -> None:
    inside = {port["name"] for port in container()["ports"]}
    service = {port["name"]: port["port"] for port in one("Service")["spec"]["ports"]}
    (path,) = one("Ingress")["spec"]["rules"][0]["http"]["paths"]
    assert {port["targetPort"] for port in one("Service")["spec"]["ports"]} == inside
    assert {b["port"] for rule in one("HTTPRoute")["spec"]["rules"] for b in rule["backendRefs"]} == {service["http"]}
    assert path["backend"]["service"]["port"]["name"] == "http"
    assert [endpoint["port"] for endpoint in one("ServiceMonitor")["spec"]["endpoints"]] == ["admin"]
    assert {port["port"] for rule in one("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]} == inside


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_the_proxies_of_the_gateway_are_let_in(directory: Path) -> None:
    """Most implementations run their proxies in the Gateway's namespace."""
    (rule,) = (r for r in one("NetworkPolicy", build(directory))["spec"]["ingress"] if {"port": "http"} in r["ports"])
    (peer,) = rule["from"]
    (expression,) = peer["namespaceSelector"]["matchExpressions"]
    assert expression["operator"] == "In"
    assert {parent["namespace"] for parent in one("HTTPRoute")["spec"]["parentRefs"]} <= set(expression["values"])


def test_only_prometheus_reaches_the_admin_port() -> None:
    rules = [rule for rule in one("NetworkPolicy")["spec"]["ingress"] if {"port": "admin"} in rule["ports"]]
    assert [rule["from"] for rule in rules] == [
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    ]


def test_the_metadata_service_is_out_of_reach() -> None:
    blocks = [to["ipBlock"] for rule in one("NetworkPolicy")["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
    assert blocks
    assert all("169.254.0.0/16" in block["except"] for block in blocks)


def test_the_image_is_started_as_it_was_built() -> None:
    """Program and user are those of the Containerfile; the manifest only names the configuration."""
    text = (ROOT / "deploy/container/Containerfile").read_text()
    context = pod()["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in text
    assert "command" not in container()
    assert container()["args"] == ["serve", "/etc/wagi-gateway/modules.toml"]


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_a_drain_has_time_enough(directory: Path) -> None:
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + settings(directory).server.shutdown_grace + 5 <= pod()["terminationGracePeriodSeconds"]


def test_readiness_is_lost_before_liveness() -> None:
    ready, alive = (container()[probe] for probe in ("readinessProbe", "livenessProbe"))
    assert ready["httpGet"] == {"path": "/readyz", "port": "http"}
    assert alive["httpGet"] == {"path": "/healthz", "port": "http"} == container()["startupProbe"]["httpGet"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < alive["periodSeconds"] * alive["failureThreshold"]


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_the_worst_case_fits_into_the_memory(directory: Path) -> None:
    config = settings(directory)
    guests = config.server.concurrency * max(module.limits.memory for module in config.module)
    assert 256 * MIB + guests <= size(container()["resources"]["limits"]["memory"])


@pytest.mark.parametrize("directory", [BASE, EXAMPLE], ids=lambda directory: directory.name)
def test_what_is_written_has_room(directory: Path) -> None:
    config = settings(directory)
    sizes = {
        volume["name"]: size(volume["emptyDir"]["sizeLimit"]) for volume in pod()["volumes"] if "emptyDir" in volume
    }
    places = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    assert config.server.spool <= sizes[places["/tmp"]]
    assert sum(sizes.values()) <= size(container()["resources"]["limits"]["ephemeral-storage"])
    assert config.cache.directory
    parent = str(Path(config.cache.directory).parent)
    assert places[parent] == "cache"  # a subdirectory: the volume's root is open to other users, and so refused


def test_a_proxy_has_the_timeouts_and_sizes_that_a_module_may_need() -> None:
    (rule,) = one("HTTPRoute")["spec"]["rules"]
    annotations = one("Ingress")["metadata"]["annotations"]
    nginx = {name.removeprefix("nginx.ingress.kubernetes.io/proxy-"): value for name, value in annotations.items()}
    for limits in (settings(directory).limits for directory in (BASE, EXAMPLE)):
        longest = limits.time + limits.queue_time
        assert min(float(rule["timeouts"]["request"].rstrip("s")), float(nginx["read-timeout"])) > longest
        assert nginx["body-size"] == f"{limits.body // MIB}m"
        assert int(nginx["buffer-size"].rstrip("k")) * 1024 > limits.header_block


def test_the_base_serves_what_it_brings() -> None:
    brought = one("ConfigMap", build(BASE))["data"]
    assert {module.module for module in settings(BASE).module} <= brought.keys()
    assert brought["hello.wat"] == (ROOT / "samples/wat/hello.wat").read_text()
