"""The checks before a pull: the message of each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.pods import ADDRESSES, ANNOTATION, a_pod
from wagi_gateway.node.api import Object
from wagi_gateway.node.options import Ceiling
from wagi_gateway.node.pods.ceiling import PodCeiling
from wagi_gateway.node.pods.validation import MAX_MESSAGE, ValidatedPod, validate

HOST, MODULES = ANNOTATION + "default-host", ANNOTATION + "modules"


def validated(pod: Object, **ceiling: Any) -> ValidatedPod:
    options = Ceiling.model_validate(ceiling)
    return validate(pod, Path("/state/volumes"), PodCeiling(options, frozenset({10350})), ADDRESSES)


def test_the_article_is_valid() -> None:
    pod = yaml.safe_load((ROOT / "samples/kubernetes/wasi-example.yaml").read_text())
    pod["metadata"]["namespace"] = "default"
    found = validated(pod)
    assert (found.host, found.port, len(found.served)) == ("0.0.0.0", 3001, 5)
    assert (found.problems, found.warnings) == ((), ())


def test_a_pod_as_the_api_server_completes_it_is_valid() -> None:
    """Defaults, the token volume of the ServiceAccount admission, probes and all."""
    probe = {"httpGet": {"path": "/", "port": 3001, "scheme": "HTTP"}, "periodSeconds": 10}
    token = {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}
    container = {
        "name": "hello",
        "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": 1, "memory": "128Mi"}},
        "ports": [{"containerPort": 3001, "protocol": "TCP"}],
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "readinessProbe": probe,
        "livenessProbe": probe,
        "lifecycle": {
            "preStop": {"sleep": {"seconds": 1}},
            "postStart": {"httpGet": {"path": "/", "port": 3001, "scheme": "HTTP"}},
        },
        "terminationMessagePath": "/dev/termination-log",
        "futureField": {"x": 1},
    }
    pod = a_pod(
        container,
        volumes=[{"name": "token", "projected": token}],
        annotations={HOST: "0.0.0.0:3001"},
        imagePullSecrets=[{"name": "s"}],
        restartPolicy="OnFailure",
        dnsPolicy="ClusterFirst",
        securityContext={"runAsNonRoot": True},
        enableServiceLinks=True,
        hostname="demo-0",
        subdomain="demo",
        preemptionPolicy="PreemptLowerPriority",
        futureField=1,
    )
    found = validated(pod)
    assert (found.problems, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("pod", "problem"),
    [
        (a_pod(annotations={MODULES: "{"}), "is not valid JSON"),
        (a_pod(annotations={MODULES: '{"hello": {}}'}), "route"),
        (a_pod(annotations={MODULES: '{"hello": {"route": "hello"}}'}), "route"),
        (a_pod(annotations={MODULES: '{"hello": {"route": "/"}, "ghost": {"route": "/g"}}'}), "ghost"),
        (a_pod(annotations={MODULES: '{"hello": {"route": "/", "rout": "/"}}'}), "rout"),
        (a_pod(annotations={ANNOTATION + "modul": "{}"}), "modul"),
        (a_pod(annotations={HOST: "nonsense"}), "HOST:PORT"),
        (a_pod(annotations={HOST: "0.0.0.0:80"}), "ceiling.privileged_ports"),
        (a_pod(annotations={HOST: "0.0.0.0:10350"}), "the node's own"),
        (a_pod({"name": "a", "route": "/x"}, {"name": "b", "route": "/x"}), "has this route"),
        (a_pod({"image": "r.example/UPPER"}), "upper-case"),
        (a_pod({"command": ["sh"]}), "command"),
        (a_pod({"args": ["x"]}), "args"),
        (a_pod({"env": [{"name": "PATH_INFO", "value": "x"}]}), "PATH_INFO"),
        (a_pod({"allowed_hosts": ["http://169.254.169.254"]}), "ceiling.allow_private_networks"),
        (a_pod({"allowed_hosts": ["ftp://a.example"]}), "allowed_hosts"),
        (a_pod({"resources": {"limits": {"memory": "2Gi"}}}), "ceiling.memory"),
        (a_pod({"resources": {"limits": {"memory": "much"}}}), "not a quantity"),
        (
            a_pod(*({"name": f"c{number}"} for number in range(251))),
            "spec.containers: 251, and a Pod of this node has 250",
        ),
        (a_pod(initContainers=[{"name": "i", "image": "x"}]), "initContainers"),
        (a_pod(volumes=[{"name": "v", "hostPath": {"path": "/etc"}}]), "ceiling.host_paths"),
        (
            a_pod(
                {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}],
            ),
            "nfs",
        ),
        (a_pod({"volumeMounts": [{"name": "ghost", "mountPath": "/v"}]}), "ghost"),
        (
            a_pod(
                {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../x"}]},
                volumes=[{"name": "v", "emptyDir": {}}],
            ),
            "subPath",
        ),
    ],
)
def test_a_mistake_is_named(pod: Object, problem: str) -> None:
    found = validated(pod)
    assert problem in found.message
    assert not found.message.startswith("Pod: ")


@pytest.mark.parametrize(
    ("pod", "warning"),
    [
        (a_pod(), "loopback"),
        (a_pod({"livenessProbe": {"exec": {"command": ["x"]}}}), "livenessProbe: exec has no effect"),
        (a_pod({"name": "a"}, {"name": "b"}, annotations={MODULES: '{"a": {"route": "/"}}'}), "is not served"),
    ],
)
def test_what_has_no_effect_is_a_warning(pod: Object, warning: str) -> None:
    found = validated(pod)
    assert found.problems == ()
    assert any(warning in one for one in found.warnings)


def test_a_message_is_bounded() -> None:
    many = a_pod(*({"name": f"c{number}", "command": ["x"]} for number in range(50)))
    assert len(validated(many).message) == MAX_MESSAGE
