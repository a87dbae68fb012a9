"""metrics-server, `kubectl top`, and HorizontalPodAutoscalers by processor time and by requests, on a real node."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, wait_until
from tests.support import guests
from tests.support.cluster.cluster import Cluster, CommandFailed, Object
from tests.support.cluster.extension_api_server import extension_api_server
from tests.support.cluster.network_namespace import NetworkNamespace, network_namespace
from tests.support.cluster.node import ADDRESS, running_node
from tests.support.cluster.pods import deployment, wagi_pod
from tests.support.cluster.round_robin import round_robin
from tests.support.nginx import free_addresses
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.publishing import publish, says
from tests.support.registry import Registry

NODE, NAME, PORT = "wagi-autoscaling", "scaled", 8080
RANGE = "10.81.3.0/28"
REPLICAS = 2
REQUEST = 50
"""Thousandths of a processor that each of two modules requests: without load a Pod does not use all of it."""
SPINS = guests.says(
    guests.CONTENT_TYPE + b"spins",
    then="""(loop $spin
     (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
     (br_if $spin (i32.lt_u (i32.load (i32.const 16)) (i32.const 20_000_000))))""",
)
"""A guest that takes tens of milliseconds of processor time."""
LIGHT = 0.1
"""Seconds between two requests of a load that two Pods need not share."""
WATCHED = ("get", "list", "watch")
APPEARS = 90.0
"""Seconds until the second of two measurements, ten seconds apart, has an effect, at most."""


@dataclass(frozen=True)
class Scaled:
    """A Deployment of Pods with the modules `says` and `spins`, behind a Service."""

    cluster: Cluster
    network: NetworkNamespace
    namespace: str

    def wait_for_replicas(self, count: int) -> None:
        """Waits until so many Pods are there, and ready; the failure has what the autoscaler says of itself."""
        path = "{range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {end}"

        def is_so() -> bool:
            states = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", f"jsonpath={path}").split()
            return states == ["True"] * count

        try:
            self.cluster.wait_for(is_so, f"{count} replicas", APPEARS)
        except AssertionError as error:
            error.add_note(self.cluster.kubectl("describe", "hpa", "-n", self.namespace))
            raise


def top(cluster: Cluster, *arguments: str) -> list[list[str]]:
    """The rows of `kubectl top`, which has none before the second measurement."""
    found: list[list[str]] = []

    def is_there() -> bool:
        try:
            text = cluster.kubectl("top", *arguments, "--no-headers")
        except CommandFailed as error:
            if "metrics not available yet" not in str(error):
                raise
            return False
        found.extend(line.split() for line in text.splitlines())
        return True

    cluster.wait_for(is_there, f"kubectl top {' '.join(arguments)}", APPEARS)
    return found


def number(text: str, unit: str) -> int:
    """The number of a quantity such as `20Mi`."""
    assert text.endswith(unit), text
    return int(text.removesuffix(unit))


def documented() -> tuple[Any, Any, Any]:
    """The configuration of Prometheus, the rules of prometheus-adapter and the autoscaler of the documentation."""
    page = (ROOT / "docs" / "kubernetes-node.md").read_text()
    section = page.partition("\n## Scaling by metrics\n")[2].partition("\n## ")[0]
    first, second, third = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", section, re.DOTALL))
    return first, second, third


@pytest.fixture(scope="module")
def metrics_server(cluster: Cluster) -> Iterator[None]:
    """metrics-server as its manifests run it, with the shortest interval that it has."""
    rights = {"nodes": WATCHED, "pods": WATCHED, "nodes/metrics": ("get",)}
    arguments = ["--kubeconfig={kubeconfig}", "--metric-resolution=10s", "--kubelet-request-timeout=9s", "--v=1"]
    arguments += ["--kubelet-use-node-status-port", "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"]
    with extension_api_server(cluster, "metrics-server", "metrics.k8s.io/v1beta1", rights, *arguments):
        yield


@pytest.fixture(scope="module")
def scaled(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    """One replica on a node whose Pods have addresses of their own."""
    publish(registry, f"{NAME}-says:1", says("says"))
    publish(registry, f"{NAME}-spins:1", SPINS)
    ((_, port),) = free_addresses(1)
    certificate = cluster.control_plane.directory / NODE
    cluster.control_plane.authority.server(NODE, ADDRESS)
    options = f'pod_cidr = "{RANGE}"\nlabels = {{ pool = "autoscaling" }}\n'
    options += f'tls_cert = "{certificate}.crt"\ntls_key = "{certificate}.key"'
    reached = (cluster.control_plane.port, int(registry.address.rpartition(":")[2]))
    directory = tmp_path_factory.mktemp("node")
    with (
        network_namespace((RANGE,), reached, published=(port,)) as network,
        running_node(cluster, directory, NODE, options=options, prefix=network.prefix, port=port),
    ):
        yield Scaled(cluster, network, _deploy(cluster, registry))


def _deploy(cluster: Cluster, registry: Registry) -> str:
    images = {module: f"{registry.address}/{NAME}-{module}:1" for module in ("says", "spins")}
    pod = wagi_pod(NAME, f"0.0.0.0:{PORT}", images)
    del pod["spec"]["hostNetwork"]
    pod["spec"]["nodeSelector"]["pool"] = "autoscaling"
    for container in pod["spec"]["containers"]:
        container["resources"] = {"requests": {"cpu": f"{REQUEST}m"}}
        container["readinessProbe"] = {"httpGet": {"path": "/says", "port": PORT}, "periodSeconds": 1}
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 2}}}
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    namespace = cluster.new_namespace()
    for document in (service, deployment(pod, 1)):
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=document)
    cluster.kubectl("rollout", "status", f"deployment/{NAME}", "-n", namespace, "--timeout=100s")
    return namespace


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, scaled: Scaled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the documented configuration and rights, outside of the cluster."""
    configuration, _, _ = documented()
    for rights in (["--verb=get,list,watch", "--resource=nodes"], ["--verb=get", "--resource=nodes/metrics"]):
        role = f"prometheus-{rights[1].partition('=')[2].replace('/', '-')}"
        cluster.kubectl("create", "clusterrole", role, *rights)
        account = f"--serviceaccount={scaled.namespace}:default"
        cluster.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", account)
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "token").write_text(cluster.token(scaled.namespace, "default"))
    (job,) = configuration["scrape_configs"]
    # Debian's Prometheus has no discovery by Kubernetes: what that finds is asked here, with the same rights.
    (discovery,) = job.pop("kubernetes_sd_configs")
    (selector,) = discovery["selectors"]
    assert (discovery["role"], selector["role"]) == ("node", "node")
    address, port = "{.status.addresses[?(@.type=='InternalIP')].address}", "{.status.daemonEndpoints.*.Port}"
    path = f"{{range .items[*]}}{address}:{port} {{end}}"
    user = cluster.service_account(scaled.namespace, "default")
    found = cluster.kubectl("get", "nodes", "-l", selector["label"], "-o", f"jsonpath={path}", user=user)
    job["scrape_interval"] = "2s"  # a scrape has as long at most
    job["static_configs"] = [{"targets": found.split()}]
    assert job["authorization"]["credentials_file"].endswith("/token")
    job["authorization"]["credentials_file"] = str(directory / "token")
    job["tls_config"] = {"ca_file": str(cluster.control_plane.authority.certificate)}
    with running_prometheus(directory, configuration) as started:
        yield started


@contextmanager
def autoscaled(scaled: Scaled, metric: Object) -> Iterator[None]:
    """The documented autoscaler with a metric, which scales down at once; afterwards there is one replica."""
    _, _, autoscaler = documented()
    autoscaler["metadata"]["name"] = autoscaler["spec"]["scaleTargetRef"]["name"] = NAME
    autoscaler["spec"] |= {"minReplicas": 1, "maxReplicas": REPLICAS, "metrics": [metric]}
    autoscaler["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    scaled.cluster.kubectl("create", "-n", scaled.namespace, "-f", "-", stdin=autoscaler)
    yield
    scaled.cluster.kubectl("delete", "hpa", NAME, "-n", scaled.namespace)
    scaled.cluster.kubectl("scale", f"deployment/{NAME}", "-n", scaled.namespace, "--replicas=1")
    scaled.wait_for_replicas(1)


@pytest.mark.usefixtures("metrics_server")
def test_pods_are_scaled_by_requests(scaled: Scaled, prometheus: Prometheus) -> None:
    """By the documented rule; metrics-server measures meanwhile, which takes it some time."""
    cluster, requests = scaled.cluster, f'wagi_requests_total{{namespace="{scaled.namespace}"}}'
    _, rules, autoscaler = documented()
    (metric,) = autoscaler["spec"]["metrics"]
    metric["pods"]["target"]["averageValue"] = "1"
    (cluster.control_plane.directory / "adapter.yaml").write_text(yaml.safe_dump(rules))
    rights = dict.fromkeys(("namespaces", "pods", "services", "nodes"), WATCHED)
    arguments = ["--lister-kubeconfig={kubeconfig}", f"--prometheus-url={prometheus.url}", "--config=adapter.yaml"]
    arguments += ["--metrics-relist-interval=1s", "--metrics-max-age=1m"]
    with (
        round_robin(cluster, scaled.namespace, NAME, f"{PORT}/says", scaled.network.prefix),
        extension_api_server(cluster, "prometheus-adapter", "custom.metrics.k8s.io/v1beta1", rights, *arguments),
    ):
        wait_until(lambda: bool(prometheus.query(requests)), APPEARS, lambda: str(prometheus.targets()))
        with autoscaled(scaled, metric):
            scaled.wait_for_replicas(REPLICAS)
            name = metric["pods"]["metric"]["name"]
            path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{scaled.namespace}/pods/*/{name}"
            items = json.loads(cluster.kubectl("get", "--raw", path))["items"]
            assert {one["describedObject"]["kind"] for one in items} == {"Pod"}
            assert any(one["value"] != "0" for one in items)
    gauges = {"wagi_requests_in_flight", "wagi_guests_running", "wagi_queue_length"}
    expression = f'''{{__name__=~"{"|".join(gauges)}",namespace="{scaled.namespace}"}}'''
    wait_until(
        lambda: {name for name, *_ in prometheus.query(expression)} == gauges,
        APPEARS,
        lambda: str(prometheus.targets()),
    )


@pytest.mark.usefixtures("metrics_server")
def test_pods_are_scaled_by_processor_time_without_a_failed_request(scaled: Scaled) -> None:
    target = {"type": "Utilization", "averageUtilization": 100}
    with autoscaled(scaled, {"type": "Resource", "resource": {"name": "cpu", "target": target}}):
        with round_robin(scaled.cluster, scaled.namespace, NAME, f"{PORT}/spins", scaled.network.prefix) as load:
            scaled.wait_for_replicas(REPLICAS)
            wait_until(lambda: len(load.addresses) == REPLICAS, APPEARS, lambda: str(load.addresses))
        prefix = scaled.network.prefix
        with round_robin(scaled.cluster, scaled.namespace, NAME, f"{PORT}/says", prefix, LIGHT) as load:
            scaled.wait_for_replicas(1)
            load.wait_for("says")


@pytest.mark.usefixtures("metrics_server")
def test_top_shows_modules_and_the_node(scaled: Scaled) -> None:
    modules = top(scaled.cluster, "pod", "-n", scaled.namespace, "--containers")
    assert [module for _, module, _, _ in modules] == ["says", "spins"]
    pod = sum(number(memory, "Mi") for *_, memory in modules)
    ((name, cpu, _, memory, share),) = top(scaled.cluster, "node", "-l", f"kubernetes.io/hostname={NODE}")
    assert name == NODE
    assert 5 < pod < number(memory, "Mi") < 2000
    assert number(cpu, "m") > 0
    assert number(share, "%") < 100


@pytest.mark.usefixtures("metrics_server")
def test_metrics_server_leaves_no_measurement_out(scaled: Scaled) -> None:
    """Of the tests before: it writes what it leaves out."""
    lines = scaled.cluster.control_plane.log("metrics-server").splitlines()
    assert [line for line in lines if "Scrape finished" in line]
    left_out = re.compile(r'Failed getting|"Failed to scrape node"|Skipping|duplicate')
    own = [line for line in lines if NODE in line or scaled.namespace in line]
    assert [line for line in own if left_out.search(line)] == []
