"""Pod templates of workloads, and lists of objects, with WAGI's annotations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wagi_gateway.config.pod.manifest import DEFAULT_HOST, MODULES, read_pod
from wagi_gateway.errors import StartupError

Object = dict[str, Any]

ANNOTATIONS = {DEFAULT_HOST: "127.0.0.1:3000", MODULES: '{"hello": {"route": "/hello"}}'}
TEMPLATE: Object = {
    "metadata": {"labels": {"app": "web"}, "annotations": ANNOTATIONS},
    "spec": {"containers": [{"name": "hello", "image": "example.com/hello:v1"}]},
}
POD: Object = {"apiVersion": "v1", "kind": "Pod", **TEMPLATE}
CONFIG_MAP: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}


def workload(kind: str, version: str = "apps/v1", template: Object = TEMPLATE, **spec: object) -> Object:
    """A workload with this Pod template."""
    inner = {"template": template, **spec}
    if kind == "CronJob":
        inner = {"schedule": "* * * * *", "jobTemplate": {"spec": inner}}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": inner}


def write(folder: Path, *documents: Object) -> Path:
    path = folder / "web.yaml"
    path.write_text("\n---\n".join(map(json.dumps, documents)))
    return path


READ = {
    "Deployment": workload("Deployment"),
    "old Deployment": workload("Deployment", "extensions/v1beta1"),
    "ReplicaSet": workload("ReplicaSet"),
    "StatefulSet": workload("StatefulSet"),
    "DaemonSet": workload("DaemonSet"),
    "Job": workload("Job", "batch/v1"),
    "CronJob": workload("CronJob", "batch/v1"),
    "ReplicationController": workload("ReplicationController", "v1"),
    "PodTemplate": {"apiVersion": "v1", "kind": "PodTemplate", "template": TEMPLATE},
    "List": {"apiVersion": "v1", "kind": "List", "items": [CONFIG_MAP, workload("DaemonSet")]},
    "List of a List": {"kind": "List", "items": [{"kind": "List", "items": [POD]}]},
    "PodList": {"apiVersion": "v1", "kind": "PodList", "items": [TEMPLATE]},
    "DeploymentList": {
        "apiVersion": "apps/v1",
        "kind": "DeploymentList",
        "items": [{"metadata": {"name": "web"}, "spec": {"template": TEMPLATE}}],
    },
}


@pytest.mark.parametrize("document", READ.values(), ids=READ)
def test_a_pod_template_is_read_as_a_pod(tmp_path: Path, document: Object) -> None:
    found = read_pod(write(tmp_path, document))
    pod = tmp_path / "pod"
    pod.mkdir()
    assert (found.problems, found.tables) == ((), read_pod(write(pod, POD)).tables)
    assert found.tables["module"][0]["route"] == "/hello"


def test_what_has_no_annotations_is_not_read(tmp_path: Path) -> None:
    other = workload("Deployment", template={"spec": {"containers": [{"name": "redis", "image": "redis"}]}})
    found = read_pod(write(tmp_path, CONFIG_MAP, other, workload("Job", "batch/v1", backoffLimit=3)))
    texts = [warning.what for warning in found.warnings]
    assert not found.problems
    assert texts[:2] == [
        'ConfigMap "c" is not read; only the Pod is',
        'Deployment "web" is not read; only the Pod is',
    ]
    assert texts[2].startswith('kind = "Job": is served until the gateway is stopped')


@pytest.mark.parametrize(
    ("documents", "what"),
    [
        ([workload("Deployment"), POD], 'holds 2 Pods: Deployment "web", Pod; put each in a file of its own'),
        ([workload("Deployment", template={})], r"a Deployment is read if spec\.template\.metadata\.annotations has"),
        (
            [workload("CronJob", "batch/v1", template={})],
            r"if spec\.jobTemplate\.spec\.template\.metadata\.",
        ),
        ([workload("Job", "batch.volcano.sh/v1alpha1")], 'holds no Pod but Job "web"'),
        ([{"apiVersion": "v1", "kind": "PodList", "items": 3}], "is empty"),
        ([{"apiVersion": "v1", "kind": "List", "items": [3, None]}], "holds no Pod but something that is no object"),
        ([workload("Deployment", template=[1])], "holds no Pod"),  # type: ignore[arg-type]
    ],
    ids=["two", "no annotations", "CronJob", "another API", "items", "values", "a list as template"],
)
def test_what_holds_no_pod(tmp_path: Path, documents: list[Object], what: str) -> None:
    with pytest.raises(StartupError, match=what):
        read_pod(write(tmp_path, *documents))


def test_mistakes_have_their_place_in_the_workload(tmp_path: Path) -> None:
    template = {**TEMPLATE, "spec": {"containers": [{"name": "hello", "image": "BAD IMAGE", "typo": 1}]}}
    found = read_pod(write(tmp_path, workload("Deployment", template=template, replicas=3)))
    assert {str(problem).split(": ")[1] for problem in found.problems} == {"spec.template.spec.containers[0] (hello)"}
    assert "spec.replicas = 3: has no effect" in str(found.warnings[0])


@pytest.mark.parametrize("command", ["convert", "check"])
def test_the_commands_read_a_deployment(tmp_path: Path, command: str) -> None:
    # With another policy `check` would ask the registry several times, for seconds.
    container = {"name": "hello", "image": "127.0.0.1:1/hello:v1", "imagePullPolicy": "Never"}
    template = {**TEMPLATE, "spec": {"containers": [container]}}
    path = write(tmp_path, workload("Deployment", template=template))
    arguments = [sys.executable, "-m", "wagi_gateway", command, str(path)]
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "oci:127.0.0.1:1/hello:v1" in result.stdout or "127.0.0.1:1" in result.stdout
    assert result.returncode == (0 if command == "convert" else 1)
