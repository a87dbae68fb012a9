"""The object of an ordinary node, without a kubelet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.support.cluster.cluster import Cluster, CommandFailed

_BEAT = 2.0
"""Seconds between two heartbeats; the cluster tests expect one in 8 s."""
_RESOURCES = {"pods": "10", "cpu": "4", "memory": "8Gi", "ephemeral-storage": "8Gi"}


@contextmanager
def container_node(cluster: Cluster, name: str) -> Iterator[str]:
    """A Ready node for containers, which runs none; its name."""
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    ended = threading.Event()

    def beat() -> None:
        while not ended.is_set():
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": now}
            try:
                cluster.patch_status(
                    "node", name, {"allocatable": _RESOURCES, "capacity": _RESOURCES, "conditions": [ready]}
                )
            except CommandFailed:
                return
            ended.wait(_BEAT)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield name
    finally:
        ended.set()
        thread.join()
        cluster.kubectl("delete", "node", name, "--wait=false")
