"""WAGI Pods of tests, and their state as kubectl shows it."""

from __future__ import annotations

import json

from tests.support.cluster.article import POD
from tests.support.cluster.cluster import Cluster, Object

ARCHITECTURE = "wasm32-wagi"
TOLERATIONS = [
    {"key": "kubernetes.io/arch", "operator": "Equal", "value": ARCHITECTURE, "effect": effect}
    for effect in ("NoSchedule", "NoExecute")
]


def wagi_pod(
    name: str, address: str, images: dict[str, str], *, node: str | None = None, routes: dict[str, Object] | None = None
) -> Object:
    """A Pod that listens on `HOST:PORT`, with a container for each name of an image.

    The route of a container is `/NAME/...`, unless `routes` has its entry of the annotation `modules`.
    """
    modules = {container: {"route": f"/{container}/..."} for container in images} | (routes or {})
    selector = {"kubernetes.io/arch": ARCHITECTURE} | ({"kubernetes.io/hostname": node} if node else {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": name},
            "annotations": {
                "alpha.wagi.krustlet.dev/default-host": address,
                "alpha.wagi.krustlet.dev/modules": json.dumps(modules),
            },
        },
        "spec": {
            "hostNetwork": True,
            "nodeSelector": selector,
            "tolerations": TOLERATIONS,
            "automountServiceAccountToken": False,
            "containers": [{"name": container, "image": image} for container, image in images.items()],
        },
    }


def deployment(pod: Object, replicas: int, **spec: object) -> Object:
    """A Deployment of a Pod; the name, and the label `app`, are those of the Pod."""
    metadata = pod["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": metadata["name"]},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": metadata["labels"]},
            "template": {"metadata": {**metadata, "name": None}, "spec": pod["spec"]},
            **spec,
        },
    }


def hello(registry: str) -> dict[str, str]:
    """The image of the article's module that says `hello world`."""
    return {"hello": f"{registry}/{POD}-hello:v1.0.0"}


def row(cluster: Cluster, name: str, namespace: str) -> list[str]:
    """The columns READY and STATUS of `kubectl get pod`; empty if there is none."""
    text = cluster.kubectl("get", "pod", name, "-n", namespace, "--no-headers", "--ignore-not-found")
    return text.split()[1:3]


def wait_for_row(cluster: Cluster, name: str, namespace: str, *wanted: str, timeout: float = 60.0) -> None:
    """Waits until `kubectl get pod` shows these columns, such as `5/5`, `Running`."""
    cluster.wait_for(
        lambda: row(cluster, name, namespace) == list(wanted), " ".join(wanted), timeout, f"{namespace}/{name}"
    )


def condition(cluster: Cluster, name: str, namespace: str, type_: str = "Ready") -> str:
    """The status of a condition of a Pod."""
    return cluster.jsonpath("pod", name, f"{{.status.conditions[?(@.type=='{type_}')].status}}", namespace)
