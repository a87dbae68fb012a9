"""The metrics in Prometheus' exposition formats, created for each scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ..compiler.abi import WASMTIME_VERSION
from ..version import __version__
from . import metrics
from .metrics import BOUNDS, METRICS, Metric
from .process import usage
from .process_registry import ProcessRegistry, series

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_Sample = tuple[Metric, tuple[str, ...], Sequence[float]]
"""A metric, the values of its labels, and its counters: one number, or those of a histogram."""


def exposition(processes: ProcessRegistry, accept: str) -> tuple[bytes, str]:
    """All metrics in the format that the field Accept asks for, and the format's content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(processes))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Snapshot(Collector):
    def __init__(self, processes: ProcessRegistry) -> None:
        self._processes = processes

    def describe(self) -> Iterable[Family]:
        """Returns nothing, so that registering the collector takes no snapshot."""
        return ()

    def collect(self) -> Iterable[Family]:
        """Every metric with its series."""
        families = {metric.name: _family(metric) for metric in METRICS}
        for metric, values, value in _samples(self._processes):
            family = families[metric.name]
            if isinstance(family, HistogramMetricFamily):
                family.add_metric(values, *_buckets(value))
            else:
                family.add_metric(values, value[0])
        return families.values()


def _family(metric: Metric) -> _Family:
    match metric.kind:
        case "counter":
            return CounterMetricFamily(metric.name, metric.about, labels=metric.labels)
        case "gauge":
            return GaugeMetricFamily(metric.name, metric.about, labels=metric.labels)
        case "histogram":
            return HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)


def _buckets(counters: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    *counts, nanoseconds = counters
    buckets = []
    total = 0.0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets, nanoseconds / 1e9


def _samples(processes: ProcessRegistry) -> Iterator[_Sample]:
    for metric, values, counters in series(processes.totals()):
        if metric is not metrics.READY:
            yield metric, values, counters
    for module in processes.served:
        yield metrics.MODULES, (module.route, module.source, module.digest), (1,)
        yield metrics.GUEST_LIMIT, (module.route,), (module.limits.concurrency * processes.workers,)
        yield metrics.QUEUE_LIMIT, (module.route,), (module.limits.queue * processes.workers,)
    yield metrics.STALE, (), (processes.stale,)
    yield metrics.WARNINGS, (), (len(processes.warnings),)
    if processes.tls_not_after is not None:
        yield metrics.TLS_NOT_AFTER, (), (processes.tls_not_after,)
    yield metrics.LOADED, (), (processes.loaded,)
    yield metrics.LAST_RELOAD, (), (not processes.reload_problems,)
    yield metrics.READY, (), (processes.unready() is None,)
    yield metrics.WORKERS, (), (len(processes.ready()),)
    yield metrics.WORKERS_DESIRED, (), (processes.workers,)
    yield metrics.BUILD, (__version__, WASMTIME_VERSION, platform.python_version()), (1,)
    for entry in processes.current():
        if used := usage(entry.pid):
            of = (entry.name,)
            yield metrics.CPU, of, (used.cpu_seconds,)
            yield metrics.RESIDENT, of, (used.resident,)
            yield metrics.VIRTUAL, of, (used.virtual,)
            yield metrics.OPEN_FDS, of, (used.descriptors,)
            yield metrics.MAX_FDS, of, (used.max_descriptors,)
            yield metrics.THREADS, of, (used.threads,)
            yield metrics.START, of, (used.started,)
