"""The registry of the server's processes, and the sums of their metrics, with those of processes that have ended."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from ..config.settings import Limits
from ..errors import Problem, StartupError
from . import metrics
from .metrics import BY_NAME
from .shared_counters import SharedCounters
from .worker_metrics import WorkerMetrics

SERVER, SUPERVISOR = "server", "supervisor"


@dataclass(frozen=True, slots=True)
class ServedModule:
    """A `[[module]]` of the current site, as /status and the metrics show it."""

    route: str
    routes: dict[str, str]
    """The routes of the module, with those of its `_routes`, and the function that each calls."""
    source: str
    digest: str
    """SHA-256 in lower-case hex."""
    limits: Limits
    logs: dict[str, str]
    """The file with the standard error of each route, with `log.directory` or `log_file`."""


class ServedSite(NamedTuple):
    """Values of the current site for /status and metrics, without a reference to the site."""

    modules: tuple[ServedModule, ...]
    loads: Mapping[tuple[str, str], int]
    """How many modules came from each source, by metric name and label value."""
    warnings: tuple[str, ...]
    tls_not_after: float | None = None
    """When the first certificate of the server's chain expires, in seconds since the epoch; None without TLS."""


@dataclass(frozen=True, slots=True, eq=False)
class ProcessEntry:
    """A process of the server."""

    name: str
    """`server` for a single process; else `supervisor` or `worker-N`, which a replacement keeps."""
    pid: int
    counters: SharedCounters
    process: BaseProcess | None = None
    """The handle of a child process; None for this process."""
    started: float = field(default_factory=time.time)

    def number(self, metric: metrics.Metric) -> int:
        """The value of a metric without labels."""
        return self.counters.get(metric.key())


class ProcessRegistry:
    """The processes of the server, for /metrics, /status and /readyz. Methods may be called on any thread."""

    def __init__(self, site: ServedSite, workers: int) -> None:
        """`workers` is the desired number of workers."""
        self.workers = workers
        self.started = time.time()
        self.is_stopping = False
        self.reload_problems: tuple[Problem, ...] = ()
        """The problems of the last reload, if it failed."""
        self.reloaded: float | None = None
        """The end of the last reload, in seconds since the epoch."""
        self._counts_of_ended: dict[str, list[int]] = {}
        """Counters and histograms of processes that have ended."""
        self._lock = threading.Lock()
        self.metrics = WorkerMetrics()
        """The metrics of this process."""
        self._entries = [ProcessEntry(SUPERVISOR if workers > 1 else SERVER, os.getpid(), self.metrics.counters)]
        self._take(site)
        for metric in (metrics.WORKER_STARTS, metrics.WORKER_DEATHS):
            self.metrics.counters.add(metric.key())
        for outcome in ("ok", "failed"):
            self.metrics.counters.add(metrics.RELOADS.key(outcome))

    def on_reload(self, site: ServedSite | None, failure: StartupError | None) -> None:
        """Records the end of a reload: the site that is served from now on, or the error."""
        if site:
            self._take(site)
        self.reloaded = time.time()
        # Keep the problems only: the error's traceback would keep the discarded site alive.
        self.reload_problems = failure.problems if failure else ()
        self._count(metrics.RELOADS, "failed" if failure else "ok")

    def stop(self) -> None:
        """Marks the beginning of the shutdown: /readyz then fails."""
        self.is_stopping = True

    def join(self, name: str, process: BaseProcess, counters: SharedCounters) -> None:
        """Adds a started worker; an earlier worker of the same name retires."""
        with self._lock:
            self._entries.append(ProcessEntry(name, process.pid or 0, counters, process))
        self._count(metrics.WORKER_STARTS)

    def remove_ended(self) -> None:
        """Removes workers that have ended, and keeps their counters. Called on the thread that started them."""
        ended = [entry for entry in self.entries() if entry.process and not entry.process.is_alive()]
        with self._lock:
            self._entries = [entry for entry in self._entries if entry not in ended]
            for entry in ended:
                for key, counts in entry.counters.read():
                    if _metric(key).kind != "gauge":
                        _add(self._counts_of_ended, key, counts)
                entry.counters.close()

    def count_death(self) -> None:
        """Counts a worker that has died or hung."""
        self._count(metrics.WORKER_DEATHS)

    def entries(self) -> list[ProcessEntry]:
        """The processes; a retiring worker comes before its replacement."""
        with self._lock:
            return list(self._entries)

    def current(self) -> list[ProcessEntry]:
        """The newest process of each name."""
        return list({entry.name: entry for entry in self.entries()}.values())

    def totals(self) -> dict[str, list[int]]:
        """The sums of all processes' counters, ended ones included, by the key of the series."""
        with self._lock:
            totals = {key: list(counts) for key, counts in self._counts_of_ended.items()}
            for entry in self._entries:
                for key, counts in entry.counters.read():
                    _add(totals, key, counts)
        return totals

    def ready(self) -> list[str]:
        """The names of processes that are ready."""
        with self._lock:
            return sorted({entry.name for entry in self._entries if entry.number(metrics.READY)})

    def unready(self) -> str | None:
        """The reason why the server is not ready; None if it is."""
        if self.is_stopping:
            return "the server is stopping"
        count = len(self.ready())
        if count < self.workers:
            return f"{count} of {self.workers} workers are ready"
        return None

    def _take(self, site: ServedSite) -> None:
        self.served = site.modules
        self.warnings = site.warnings
        self.tls_not_after = site.tls_not_after
        self.stale = site.loads.get((metrics.PULLS.name, "stale"), 0)
        self.loaded = time.time()
        if self.workers > 1:  # with one process, Generation counts the loads
            self.metrics.count_loads(site.loads)

    def _count(self, metric: metrics.Metric, *values: str) -> None:
        with self._lock:
            self.metrics.numbers[self.metrics.counters.add(metric.key(*values))] += 1


def _add(totals: dict[str, list[int]], key: str, counts: list[int]) -> None:
    known = totals.setdefault(key, [0] * len(counts))
    for index, count in enumerate(counts):
        known[index] += count


def _metric(key: str) -> metrics.Metric:
    return BY_NAME[json.loads(key)[0]]


def series(totals: dict[str, list[int]]) -> Iterator[tuple[metrics.Metric, tuple[str, ...], list[int]]]:
    """Totals as metric, label values and counters."""
    for key, counts in totals.items():
        name, *values = json.loads(key)
        yield BY_NAME[name], tuple(values), counts
