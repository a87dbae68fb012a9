"""The counters of one process."""

from __future__ import annotations

import dataclasses
import json

import pytest

from wagi_gateway.observe.metrics import BOUNDS
from wagi_gateway.observe.worker_metrics import GuestEvent, RequestEvent, WorkerMetrics
from wagi_gateway.outbound.client import Call
from wagi_gateway.sandbox.guest import Executor
from wagi_gateway.sandbox.invocation import Outcome, StopReason


def ended(
    outcome: Outcome,
    executor: Executor = "thread",
    stop_reason: StopReason | None = None,
    stderr_dropped: int = 0,
) -> GuestEvent:
    """The event of a guest's end."""
    return GuestEvent("/a", executor, outcome, stop_reason, stderr_dropped)


def counted(metrics: WorkerMetrics) -> dict[tuple[str, ...], list[int]]:
    """The counters that are not 0, by name and label values."""
    return {tuple(json.loads(key)): counters for key, counters in metrics.counters.read() if any(counters)}


def of_guest(event: GuestEvent) -> set[tuple[str, ...]]:
    """The counters of a guest's end, without its duration."""
    metrics = WorkerMetrics()
    metrics.guests.append(event)
    metrics.count()
    assert all(counters == [1] for (name, *_), counters in counted(metrics).items() if "duration" not in name)
    return {
        (name.removeprefix("wagi_").removesuffix("_total"), *labels[1:])
        for name, *labels in counted(metrics)
        if "duration" not in name
    }


def test_a_request() -> None:
    metrics = WorkerMetrics()
    metrics.requests.append(RequestEvent("/a", 200, seconds=0.003, body_size=12))
    metrics.count()
    metrics.count()
    metrics.show(1, {"/a": (2, 3)})
    counters = counted(metrics)
    seconds = counters.pop(("wagi_request_duration_seconds", "/a"))
    assert counters == {
        ("wagi_requests_in_flight",): [1],
        ("wagi_guests_running", "/a"): [2],
        ("wagi_queue_length", "/a"): [3],
        ("wagi_requests_total", "/a", "200"): [1],
        ("wagi_response_bytes_total", "/a"): [12],
    }
    assert (seconds[BOUNDS.index(0.005)], sum(seconds[:-1]), seconds[-1]) == (1, 1, 3_000_000)


def test_statuses_that_mean_nothing_share_a_label() -> None:
    metrics = WorkerMetrics()
    for status in range(100, 1000):
        metrics.route("/a").count_request(status, 0.001, 0)
    labels = [labels[1] for name, *labels in counted(metrics) if name == "wagi_requests_total"]
    assert len(labels) < 80
    assert {"200", "404", "499", "599"[0] + "xx", "9xx"} <= set(labels)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ended(Outcome("exit"), "inline"), {("guests", "inline")}),
        (ended(Outcome("exit", 3)), {("guests", "thread"), ("guest_failures", "exit_code")}),
        (
            ended(Outcome("trap", message="integer divide by zero"), "restarted"),
            {("guests", "restarted"), ("guest_failures", "trap"), ("guest_traps", "division_by_zero")},
        ),
        (
            ended(Outcome("trap", message="what the guest says")),
            {("guests", "thread"), ("guest_failures", "trap"), ("guest_traps", "other")},
        ),
        (
            ended(Outcome("stopped"), stop_reason="time"),
            {("guests", "thread"), ("guest_failures", "time"), ("limit_hits", "time")},
        ),
        (
            ended(Outcome("stopped"), stop_reason="disconnect"),
            {("guests", "thread"), ("guest_failures", "abandoned")},
        ),
        (ended(Outcome("exit"), stderr_dropped=9), {("guests", "thread"), ("limit_hits", "stderr")}),
        (
            ended(Outcome("exit", 2, was_short_of_memory=True)),
            {("guests", "thread"), ("guest_failures", "exit_code"), ("limit_hits", "memory")},
        ),
    ],
    ids="ended|exit code|trap|unknown trap|out of time|abandoned|too much stderr|too little memory".split("|"),
)
def test_a_guest(event: GuestEvent, expected: set[tuple[str, ...]]) -> None:
    assert of_guest(event) == expected


def test_a_call() -> None:
    metrics = WorkerMetrics()
    call = Call("GET", "https://secret.example", "denied", None, "", 0.2, 0, 0, 0)
    metrics.route("/a").count_call(call)
    metrics.route("/a").count_call(dataclasses.replace(call, outcome="answered"))
    metrics.route("/a").count_call(dataclasses.replace(call, outcome="timeout", limit="http_time"))
    counters = counted(metrics)
    assert sum(counters.pop(("wagi_outbound_call_duration_seconds", "/a"))[:-1]) == 3
    assert counters.pop(("wagi_limit_hits_total", "/a", "http_time")) == [1]
    assert counters == {
        ("wagi_outbound_calls_total", "/a", outcome): [1] for outcome in ("denied", "answered", "timeout")
    }
