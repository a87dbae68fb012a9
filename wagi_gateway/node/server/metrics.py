"""`/metrics`, `/metrics/resource` and `/stats/summary`: the node and its Pods in numbers."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...version import __version__
from ..api import Object
from .containers import Containers, current_pods
from .gateway_metrics import Scraped, exposition_lines, scrape
from .usage import Meter, NodeUsage, TreeUsage, running

_LIFETIME = 1.0
"""Seconds for which a measurement is used again: what many clients cost stays bounded."""
_EOF = b"# EOF\n"
"""The end of a document of OpenMetrics."""
_OF_CONTAINER = ("container", "namespace", "pod")
_OF_POD = ("namespace", "pod")


class NodeMetrics:
    """The endpoints, with the last measurement."""

    def __init__(self, node: str, containers: Containers) -> None:
        self._node = node
        self._containers = containers
        self._meter = Meter(os.getpid())
        self._measured, self._is_scraped = asyncio.Lock(), asyncio.Lock()
        self._last: tuple[float, NodeUsage] | None = None
        self._last_scrape: tuple[float, Scraped] | None = None

    async def resource(self, request: Request) -> Response:
        """What metrics-server reads of a kubelet (resource_metrics.go), with the times of the measurement."""
        return _exposition(request, _resource(await self._usage()))

    async def metrics(self, request: Request) -> Response:
        """The metrics of the node itself and of its Pods' gateways, for Prometheus."""
        usage, scraped = await self._usage(), await self._scrape()
        families = _metrics(usage, self._containers, scraped)
        return await asyncio.to_thread(_exposition, request, families, scraped)

    async def summary(self, _: Request) -> Response:
        """Processor and memory in the form of a kubelet's Summary (kubelet/pkg/apis/stats/v1alpha1)."""
        return JSONResponse(_summary(self._node, await self._usage()))

    async def _usage(self) -> NodeUsage:
        async with self._measured:
            if self._last is None or time.monotonic() - self._last[0] >= _LIFETIME:
                usage = await asyncio.to_thread(self._meter.measure, running(self._containers))
                self._last = time.monotonic(), usage
            return self._last[1]

    async def _scrape(self) -> Scraped:
        async with self._is_scraped:
            if self._last_scrape is None or time.monotonic() - self._last_scrape[0] >= _LIFETIME:
                self._last_scrape = time.monotonic(), await scrape(self._containers)
            return self._last_scrape[1]


class _Collected(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def describe(self) -> Iterable[Family]:
        """Returns nothing, so that registering the collector reads no family."""
        return ()

    def collect(self) -> Iterable[Family]:
        """The families."""
        return self._families


def _exposition(request: Request, families: Iterable[Family], scraped: Scraped | None = None) -> Response:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    text = encode(registry)
    if scraped:
        is_open_metrics = text.endswith(_EOF)
        lines = exposition_lines(scraped, is_open_metrics=is_open_metrics).encode()
        text = text.removesuffix(_EOF) + lines + (_EOF if is_open_metrics else b"")
    return Response(text, headers={"content-type": content_type})


def _resource(usage: NodeUsage) -> Iterator[Family]:
    at = usage.time
    cpu = CounterMetricFamily("node_cpu_usage_seconds", "Cumulative cpu time consumed by the node in core-seconds")
    cpu.add_metric((), usage.node.cpu_seconds, timestamp=at)
    memory = GaugeMetricFamily("node_memory_working_set_bytes", "Current working set of the node in bytes")
    memory.add_metric((), usage.node.working_set, timestamp=at)
    yield from (cpu, memory)
    yield from _pods(usage)
    started = GaugeMetricFamily(
        "container_start_time_seconds", "Start time of the container since unix epoch in seconds", labels=_OF_CONTAINER
    )
    cpu = CounterMetricFamily(
        "container_cpu_usage_seconds",
        "Cumulative cpu time consumed by the container in core-seconds",
        labels=_OF_CONTAINER,
    )
    memory = GaugeMetricFamily(
        "container_memory_working_set_bytes", "Current working set of the container in bytes", labels=_OF_CONTAINER
    )
    for pod in usage.pods:
        for one in pod.containers:
            labels = (one.name, pod.namespace, pod.name)
            started.add_metric(labels, pod.tree.started)
            cpu.add_metric(labels, one.cpu_seconds, timestamp=at)
            memory.add_metric(labels, one.working_set, timestamp=at)
    yield from (started, cpu, memory)
    for name in ("resource_scrape_error", "scrape_error"):
        yield GaugeMetricFamily(name, "1 if there was an error while getting container metrics, 0 otherwise", value=0)


def _pods(usage: NodeUsage) -> Iterator[Family]:
    cpu = CounterMetricFamily(
        "pod_cpu_usage_seconds", "Cumulative cpu time consumed by the pod in core-seconds", labels=_OF_POD
    )
    memory = GaugeMetricFamily(
        "pod_memory_working_set_bytes", "Current working set of the pod in bytes", labels=_OF_POD
    )
    for pod in usage.pods:
        cpu.add_metric((pod.namespace, pod.name), pod.tree.cpu_seconds, timestamp=usage.time)
        memory.add_metric((pod.namespace, pod.name), pod.tree.working_set, timestamp=usage.time)
    yield from (cpu, memory)


def _metrics(usage: NodeUsage, containers: Containers, scraped: Scraped) -> Iterator[Family]:
    build = GaugeMetricFamily("wagi_node_build_info", "The version of the node.", labels=("version",))
    build.add_metric((__version__,), 1)
    phases = GaugeMetricFamily("wagi_node_pods", "Pods of the node by phase.", labels=("phase",))
    for phase, count in sorted(Counter(_status(pod).get("phase", "Pending") for pod in containers.pods()).items()):
        phases.add_metric((phase,), count)
    restarts = CounterMetricFamily(
        "wagi_node_container_restarts", "Restarts of a container.", labels=("container", "namespace", "pod")
    )
    ready = GaugeMetricFamily(
        "wagi_node_container_ready", "1 if a container is ready, 0 otherwise.", labels=("container", "namespace", "pod")
    )
    for pod in current_pods(containers):
        for one in _status(pod).get("containerStatuses") or ():
            labels = (one["name"], pod["metadata"]["namespace"], pod["metadata"]["name"])
            restarts.add_metric(labels, one.get("restartCount", 0))
            ready.add_metric(labels, bool(one.get("ready")))
    cpu = CounterMetricFamily("wagi_node_cpu_seconds", "Processor time of the node and its Pods.")
    cpu.add_metric((), usage.node.cpu_seconds)
    memory = GaugeMetricFamily("wagi_node_memory_bytes", "Memory of the node and its Pods (PSS).")
    memory.add_metric((), usage.node.working_set)
    answered = GaugeMetricFamily(
        "wagi_node_pod_scraped", "1 if the gateway of a Pod answered with its metrics, 0 otherwise.", labels=_OF_POD
    )
    for name, text in scraped.items():
        answered.add_metric(name, text is not None)
    yield from (build, phases, restarts, ready, answered, cpu, memory)
    yield from _pods(usage)


def _status(pod: Object) -> Object:
    return pod.get("status") or {}


def _summary(node: str, usage: NodeUsage) -> dict[str, Any]:
    return {
        "node": {"nodeName": node, **_stats(usage.node, usage.time)},
        "pods": [
            {
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                **_stats(pod.tree, usage.time),
                "containers": [
                    {
                        "name": one.name,
                        **_stats(TreeUsage(one.cpu_seconds, round(one.working_set), pod.tree.started), usage.time),
                    }
                    for one in pod.containers
                ],
            }
            for pod in usage.pods
        ],
    }


def _stats(tree: TreeUsage, at: float) -> dict[str, Any]:
    time_ = _time(at)
    return {
        "startTime": _time(tree.started),
        "cpu": {"time": time_, "usageCoreNanoSeconds": round(tree.cpu_seconds * 1e9)},
        "memory": {"time": time_, "workingSetBytes": tree.working_set},
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
