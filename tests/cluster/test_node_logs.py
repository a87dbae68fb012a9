"""Logs, requests and usage of a Pod that a real node runs, by kubectl and as metrics-server reads them."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.conftest import wait_until
from tests.support.cluster.article import POD
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.node import ADDRESS, Node, running_node
from tests.support.cluster.pods import wagi_pod, wait_for_row
from tests.support.nginx import free_addresses
from tests.support.registry import Registry

NODE = "wagi-logs"
LINE = "log: the request has arrived"


@dataclass(frozen=True)
class Served:
    """The Pod `served` of two modules on a node."""

    node: Node
    namespace: str
    url: str

    def kubectl(self, *arguments: str) -> str:
        return self.node.cluster.kubectl("-n", self.namespace, *arguments)

    def ask(self, times: int) -> None:
        """Has the module `log` write lines."""
        for _ in range(times):
            assert httpx.get(f"{self.url}/log/", trust_env=False, timeout=30).status_code == 200

    def of_node(self, path: str) -> str:
        """An answer of the node's API to the API server's certificate."""
        cluster = self.node.cluster
        port = cluster.jsonpath("node", NODE, "{.status.daemonEndpoints.kubeletEndpoint.Port}")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as metrics-server's --kubelet-insecure-tls
        directory = cluster.control_plane.directory
        context.load_cert_chain(directory / "to-kubelet.crt", directory / "to-kubelet.key")
        return httpx.get(f"https://{ADDRESS}:{port}{path}", verify=context, trust_env=False, timeout=30).text

    def lines(self, *arguments: str) -> list[str]:
        return [line for line in self.kubectl("logs", "served", "-c", "log", *arguments).splitlines() if LINE in line]


@pytest.fixture(scope="module")
def served(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ((host, port),) = free_addresses(1)
    images = {name: f"{registry.address}/{POD}-{name}:v1.0.0" for name in ("log", "hello")}
    with running_node(cluster, tmp_path_factory.mktemp("node"), NODE, mirror=registry.address) as node:
        namespace = cluster.new_namespace()
        cluster.kubectl(
            "create", "-n", namespace, "-f", "-", stdin=wagi_pod("served", f"{host}:{port}", images, node=NODE)
        )
        wait_for_row(cluster, "served", namespace, "2/2", "Running")
        yield Served(node, namespace, f"http://{host}:{port}")
        cluster.kubectl("delete", "pod", "served", "-n", namespace, "--ignore-not-found")


def test_logs_are_followed(served: Served) -> None:
    command = [
        str(served.node.cluster.programs / "kubectl"),
        "logs",
        "-f",
        "served",
        "-c",
        "log",
        "-n",
        served.namespace,
    ]
    served.ask(1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=served.node.cluster.environment) as following:
        assert following.stdout
        shown = iter(following.stdout.readline, "")
        assert LINE in next(line for line in shown if LINE in line)
        served.ask(2)
        assert len([next(line for line in shown if LINE in line) for _ in range(2)]) == 2
        following.kill()
    assert len(served.lines()) == 3
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", served.lines("--timestamps")[0])
    assert served.kubectl("logs", "served", "-c", "hello") == ""


def test_exec_answers_without_the_network(served: Served) -> None:
    assert served.kubectl("exec", "served", "-c", "hello", "--", "GET", "/hello/") == "hello world\n"


def test_metrics_server_reads_the_usage(served: Served) -> None:
    text = served.of_node("/metrics/resource")
    for name in ("log", "hello"):
        labels = re.escape(f'{{container="{name}",namespace="{served.namespace}",pod="served"}}')
        for metric in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes"):
            found = re.search(rf"^{metric}{labels} (\S+) \d+$", text, re.MULTILINE)
            assert found, text
            assert float(found[1]) > 0


def test_prometheus_reads_the_metrics_of_gateways(served: Served) -> None:
    """As an adapter needs them for an HPA: by namespace and Pod."""
    served.ask(2)
    sample = f'wagi_requests_total{{namespace="{served.namespace}",pod="served",route="/log/...",status="200"}} '
    wait_until(lambda: sample in served.of_node("/metrics"), 30, lambda: served.of_node("/metrics"))
    (value,) = (line.removeprefix(sample) for line in served.of_node("/metrics").splitlines() if sample in line)
    assert float(value) >= 2


def test_the_log_of_a_crash_is_the_previous_one(served: Served) -> None:
    served.ask(1)
    before = served.lines()
    uid = served.node.cluster.jsonpath("pod", "served", "{.metadata.uid}", served.namespace)
    state = served.node.state / "pods" / uid / "state.json"  # that of an earlier Pod may not be removed yet
    pid = int(re.findall(r'"pid":\s*(\d+)', state.read_text())[0])
    os.kill(pid, signal.SIGKILL)
    path = "{.status.containerStatuses[0].restartCount}"
    wait_until(lambda: served.node.cluster.jsonpath("pod", "served", path, served.namespace) == "1", 60)
    wait_for_row(served.node.cluster, "served", served.namespace, "2/2", "Running")
    assert served.lines("--previous") == before
    served.ask(1)
    assert len(served.lines()) == 1
