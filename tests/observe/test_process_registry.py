"""The registry of the server's processes."""

from __future__ import annotations

import multiprocessing

import pytest

from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.observe import metrics
from wagi_gateway.observe.process_registry import ProcessRegistry, series
from wagi_gateway.observe.shared_counters import SharedCounters
from wagi_gateway.observe.worker_metrics import WorkerMetrics
from wagi_gateway.site.site import Site


def _end() -> None:
    pass


def total(registry: ProcessRegistry, metric: metrics.Metric, *labels: str) -> int:
    return registry.totals().get(metric.key(*labels), [0])[0]


def test_a_single_process(registry: ProcessRegistry) -> None:
    assert [entry.name for entry in registry.entries()] == ["server"]
    assert registry.unready() == "0 of 1 workers are ready"
    registry.metrics.set_ready(True)
    assert (registry.ready(), registry.unready()) == (["server"], None)
    registry.stop()
    assert registry.unready() == "the server is stopping"


@pytest.mark.parametrize("registry", [2], indirect=True)
def test_counters_outlive_a_worker_and_gauges_do_not(registry: ProcessRegistry) -> None:
    counters = SharedCounters()
    worker = WorkerMetrics(counters)
    process = multiprocessing.get_context("spawn").Process(target=_end)
    process.start()
    process.join()
    registry.join("worker-1", process, counters)
    worker.route("/hello").count_request(200, 0.1, 5)
    worker.set_ready(True)
    assert registry.unready() == "1 of 2 workers are ready"
    assert total(registry, metrics.REQUESTS, "/hello", "200") == 1
    registry.remove_ended()
    assert [entry.name for entry in registry.entries()] == ["supervisor"]
    assert total(registry, metrics.REQUESTS, "/hello", "200") == 1
    assert registry.totals().get(metrics.READY.key()) == [0]
    assert registry.unready() == "0 of 2 workers are ready"
    assert total(registry, metrics.WORKER_STARTS) == 1


@pytest.mark.parametrize("registry", [2], indirect=True)
def test_a_replacement_has_the_name_of_the_retiring_worker(registry: ProcessRegistry) -> None:
    old, new = SharedCounters(), SharedCounters()
    for counters in (old, new):
        registry.join("worker-1", multiprocessing.current_process(), counters)
    assert [entry.counters for entry in registry.entries()[1:]] == [old, new]
    assert [entry.counters for entry in registry.current()[1:]] == [new]


def test_reloads(registry: ProcessRegistry, hello_site: Site) -> None:
    loaded = registry.loaded
    registry.on_reload(None, StartupError(Problem("a", "b")))
    assert (registry.reload_problems, registry.loaded) == ((Problem("a", "b"),), loaded)
    registry.on_reload(hello_site.served(), None)
    assert registry.reload_problems == ()
    assert registry.loaded >= loaded
    assert [total(registry, metrics.RELOADS, outcome) for outcome in ("ok", "failed")] == [1, 1]


def test_series() -> None:
    totals = {metrics.REQUESTS.key("/é", "200"): [3]}
    assert list(series(totals)) == [(metrics.REQUESTS, ("/é", "200"), [3])]
