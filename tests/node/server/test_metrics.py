"""`/metrics/resource` as metrics-server reads it, `/metrics` and `/stats/summary`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.node_api import NodeApi
from wagi_gateway.node.server import metrics
from wagi_gateway.node.unix_socket import listening_at
from wagi_gateway.observe.process_registry import ProcessRegistry, ServedSite
from wagi_gateway.server.admin import AdminListener

LINE = re.compile(r"([a-z_]+)(?:\{([^}]*)\})? ([0-9.e+]+)(?: (\d{13}))?")


@pytest.fixture(scope="module")
def busy(node_api: NodeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApi]:
    """A node with the Pod `demo`, whose process has used the processor, and with one that has none."""
    log = tmp_path_factory.mktemp("logs") / "0.log"
    program = "x = bytearray(50_000_000)\nfor _ in range(3_000_000): pass\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", program]
    with ExitStack() as stack, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        admin = gateway(log.with_name("admin.sock"), stack)
        for name in ("a", "b"):
            node_api.pods.add("demo", name, log, pid=process.pid, admin=admin)
        node_api.pods.add("waiting", "a", log, waiting="ContainerCreating")
        node_api.pods.status["default", "demo"] = {
            "phase": "Running",
            "containerStatuses": [{"name": "a", "restartCount": 3, "ready": True}, {"name": "b"}],
        }
        yield node_api
        process.kill()


def gateway(path: Path, stack: ExitStack) -> Path:
    """The admin socket of a gateway that has answered two requests."""
    registry = ProcessRegistry(ServedSite((), {}, ()), 1)
    for _ in range(2):
        registry.metrics.route("/a").count_request(200, 0.1, 10)
    stack.enter_context(AdminListener(stack.enter_context(listening_at(path)), registry))
    return path


def samples(text: str) -> dict[tuple[str, str], tuple[float, bool]]:
    """Value, and whether there is a time in milliseconds, by metric and labels."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            found[match[1], match[2] or ""] = (float(match[3]), bool(match[4]))
    return found


def test_resource_metrics(busy: NodeApi) -> None:
    answer = busy.get("/metrics/resource")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    a, b = (f'container="{name}",namespace="default",pod="demo"' for name in ("a", "b"))
    pod = 'namespace="default",pod="demo"'
    assert set(found) == {
        ("node_cpu_usage_seconds_total", ""),
        ("node_memory_working_set_bytes", ""),
        ("pod_cpu_usage_seconds_total", pod),
        ("pod_memory_working_set_bytes", pod),
        *((f"container_{name}", one) for name in ("cpu_usage_seconds_total", "start_time_seconds") for one in (a, b)),
        *(("container_memory_working_set_bytes", one) for one in (a, b)),
        ("resource_scrape_error", ""),
        ("scrape_error", ""),
    }
    assert {key[0] for key, value in found.items() if not value[1]} == {
        "container_start_time_seconds",
        "resource_scrape_error",
        "scrape_error",
    }
    for kind, least in (("cpu_usage_seconds_total", 0.01), ("memory_working_set_bytes", 50_000_000)):
        of_pod = found[f"pod_{kind}", pod][0]
        assert of_pod >= least
        # metrics-server drops a Pod with a zero, and adds the containers up
        assert found[f"container_{kind}", a][0] + found[f"container_{kind}", b][0] == pytest.approx(of_pod)
        assert found[f"node_{kind}", ""][0] >= of_pod


def test_open_metrics(busy: NodeApi) -> None:
    with busy.client() as client:
        answer = client.get("/metrics/resource", headers={"accept": "application/openmetrics-text"})
        both = client.get("/metrics", headers={"accept": "application/openmetrics-text"}).text
    assert answer.text.endswith("# EOF\n")
    assert both.count("# EOF\n") == 1
    assert both.endswith("# EOF\n")
    assert "# TYPE wagi_requests counter" in both


def test_metrics_of_the_node(busy: NodeApi) -> None:
    families = {one.name: one.samples for one in text_string_to_metric_families(busy.get("/metrics").text)}
    values = {name: {tuple(one.labels.values()): one.value for one in found} for name, found in families.items()}
    assert values["wagi_node_pods"] == {("Pending",): 1, ("Running",): 1}
    assert values["wagi_node_container_restarts"] == {("a", "default", "demo"): 3, ("b", "default", "demo"): 0}
    assert values["wagi_node_container_ready"] == {("a", "default", "demo"): 1, ("b", "default", "demo"): 0}
    assert list(values["pod_memory_working_set_bytes"]) == [("default", "demo")]
    assert values["wagi_node_pod_scraped"] == {("default", "demo"): 1}
    assert values["wagi_requests"] == {("default", "demo", "/a", "200"): 2}
    assert set(values) >= {"wagi_node_build_info", "wagi_node_cpu_seconds", "wagi_node_memory_bytes"}


def test_two_pods_of_a_name_have_one_series(busy: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them is being deleted."""
    monkeypatch.setattr(metrics, "_LIFETIME", 0.0)
    found = busy.pods.pods()
    monkeypatch.setattr(busy.pods, "pods", lambda: [*found, *found])
    for path in ("/metrics", "/metrics/resource"):
        text = busy.get(path).text
        assert "demo" in text
        names = [line.rpartition("}")[0] or line for line in text.splitlines() if not line.startswith("#")]
        assert len(names) == len(set(names))
    assert 'wagi_node_pods{phase="Running"} 2.0' in busy.get("/metrics").text
    assert len(busy.get("/stats/summary").json()["pods"]) == 1


def test_summary(busy: NodeApi) -> None:
    document = busy.get("/stats/summary").json()
    assert (document["node"]["nodeName"], len(document["pods"])) == ("wagi-1", 1)
    pod = document["pods"][0]
    assert pod["podRef"] == {"name": "demo", "namespace": "default", "uid": "uid-demo"}
    assert pod["memory"]["workingSetBytes"] >= 50_000_000
    assert [one["name"] for one in pod["containers"]] == ["a", "b"]
    assert pod["containers"][0]["cpu"]["usageCoreNanoSeconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", pod["startTime"])


def test_a_measurement_is_used_again(busy: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_LIFETIME", 3600.0)
    with busy.client() as client:
        assert len({client.get("/metrics/resource").text for _ in range(3)}) == 1
