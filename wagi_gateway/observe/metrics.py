"""Every metric: name, kind, labels and help text. WorkerMetrics and ProcessRegistry count; `/metrics` exposes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

BOUNDS = tuple(
    float(bound)
    for bound in "0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30".split()
)
"""Upper bounds of a histogram's buckets, in seconds."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; `str(metric)` is its name."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    about: str
    """The help text: one sentence."""

    def __str__(self) -> str:
        return self.name

    def key(self, *values: str) -> str:
        """The key of a series in SharedCounters: the name and the values of the labels, as JSON."""
        return json.dumps((self.name, *values), ensure_ascii=False)


REQUESTS = Metric(
    "wagi_requests_total", "counter", ("route", "status"), "Requests that are over, by the status the client was sent."
)
REQUEST_DURATION = Metric(
    "wagi_request_duration_seconds", "histogram", ("route",), "Time from a request's head to the end of its response."
)
RESPONSE_BYTES = Metric("wagi_response_bytes_total", "counter", ("route",), "Bytes of response bodies sent.")
IN_FLIGHT = Metric("wagi_requests_in_flight", "gauge", (), "Requests that are not over yet, waiting or not.")
CONNECTIONS = Metric("wagi_connections", "gauge", (), "Connections of clients that are open.")
REFUSED = Metric(
    "wagi_connections_refused_total",
    "counter",
    (),
    "Connections that got 503 because they were too many (server.max_connections).",
)
RUNNING = Metric("wagi_guests_running", "gauge", ("route",), "Guests that run now.")
GUEST_LIMIT = Metric("wagi_guest_limit", "gauge", ("route",), "Guests that may run at once, in all workers.")
QUEUE = Metric("wagi_queue_length", "gauge", ("route",), "Requests that wait until a guest of their module may start.")
QUEUE_LIMIT = Metric("wagi_queue_limit", "gauge", ("route",), "Requests that may wait, in all workers.")
GUEST_DURATION = Metric(
    "wagi_guest_duration_seconds", "histogram", ("route",), "Time of a guest in its sandbox, from start to end."
)
GUESTS = Metric(
    "wagi_guests_total",
    "counter",
    ("route", "executor"),
    "Guests that have ended, by what ran them.",
)
GUEST_FAILURES = Metric(
    "wagi_guest_failures_total",
    "counter",
    ("route", "reason"),
    "Guests that did not end with exit code 0.",
)
TRAPS = Metric("wagi_guest_traps_total", "counter", ("route", "trap"), "Guests that trapped, by the kind of trap.")
LIMIT_HITS = Metric("wagi_limit_hits_total", "counter", ("route", "limit"), "Times a limit was reached.")
CALLS = Metric("wagi_outbound_calls_total", "counter", ("route", "outcome"), "Outbound calls that are over.")
CALL_DURATION = Metric(
    "wagi_outbound_call_duration_seconds",
    "histogram",
    ("route",),
    "Time of an outbound call, until its response was closed.",
)
LOADS = Metric("wagi_module_loads_total", "counter", ("source",), "Modules made ready, by source: cache or compiler.")
PULLS = Metric(
    "wagi_module_pulls_total",
    "counter",
    ("outcome",),
    "Modules of registries: downloaded, stored (no download needed) or stale (the registry did not answer).",
)
STALE = Metric(
    "wagi_modules_stale", "gauge", (), "Modules served as they were last time, since their registry did not answer."
)
MODULES = Metric("wagi_module_info", "gauge", ("route", "module", "digest"), "What each route is served by; always 1.")
WARNINGS = Metric("wagi_config_warnings", "gauge", (), "Warnings about the configuration that is served.")
RELOADS = Metric("wagi_reloads_total", "counter", ("outcome",), "Reloads that were asked for: ok or failed.")
LAST_RELOAD = Metric("wagi_last_reload_successful", "gauge", (), "Whether the last reload was one; 1 before the first.")
LOADED = Metric("wagi_config_loaded_timestamp_seconds", "gauge", (), "When what is served was loaded.")
TLS_NOT_AFTER = Metric(
    "wagi_tls_not_after_seconds",
    "gauge",
    (),
    "When the first certificate of server.tls_cert expires, as a Unix time; absent without TLS.",
)
WORKERS = Metric("wagi_workers", "gauge", (), "Processes that serve and are ready.")
WORKERS_DESIRED = Metric("wagi_workers_desired", "gauge", (), "Processes there should be: server.workers.")
WORKER_STARTS = Metric("wagi_worker_starts_total", "counter", (), "Workers that were started.")
WORKER_DEATHS = Metric("wagi_worker_deaths_total", "counter", (), "Workers that died or hung, and were replaced.")
READY = Metric("wagi_ready", "gauge", (), "Whether every module is warm and guests can run, as /readyz says.")
BUILD = Metric("wagi_build_info", "gauge", ("version", "wasmtime", "python"), "What runs; always 1.")
CPU = Metric("process_cpu_seconds_total", "counter", ("process",), "Processor time, of user and system.")
RESIDENT = Metric("process_resident_memory_bytes", "gauge", ("process",), "Resident memory.")
VIRTUAL = Metric("process_virtual_memory_bytes", "gauge", ("process",), "Address space; each sandbox reserves 4 GiB.")
OPEN_FDS = Metric("process_open_fds", "gauge", ("process",), "Open descriptors.")
MAX_FDS = Metric("process_max_fds", "gauge", ("process",), "Descriptors a process may have open.")
THREADS = Metric("process_threads", "gauge", ("process",), "Threads.")
START = Metric("process_start_time_seconds", "gauge", ("process",), "When the process was started.")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
BY_NAME = {metric.name: metric for metric in METRICS}
