"""The metrics of one process. Requests and guests append events to lists, which are counted several times a second.

Counting each event at once would take several times as long: counters and code would have left the processor's cache.
"""

from __future__ import annotations

import http
from bisect import bisect_left
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from . import metrics
from .log_record import NO_ROUTE as NO_ROUTE
from .metrics import BOUNDS, Metric
from .shared_counters import SharedCounters

if TYPE_CHECKING:  # for annotations alone
    from ..outbound.client import Call
    from ..sandbox.guest import Executor
    from ..sandbox.invocation import Outcome, StopReason

_HISTOGRAM_SIZE = len(BOUNDS) + 2
_SUM = _HISTOGRAM_SIZE - 1
"""A histogram has a counter for each bucket, one for values above all bounds, and the sum in nanoseconds."""
_STATUSES = frozenset(status.value for status in http.HTTPStatus) | {499}
_TRAPS = {
    "wasm `unreachable` instruction executed": "unreachable",
    "call stack exhausted": "stack_overflow",
    "out of bounds memory access": "memory_out_of_bounds",
    "undefined element: out of bounds table access": "table_out_of_bounds",
    "uninitialized element": "null_function",
    "indirect call type mismatch": "bad_signature",
    "integer overflow": "integer_overflow",
    "integer divide by zero": "division_by_zero",
    "invalid conversion to integer": "bad_conversion",
    "null reference": "null_reference",
    "out of bounds array access": "array_out_of_bounds",
    "allocation size too large": "allocation_too_large",
    "cast failure": "bad_cast",
}
_FAILURES = {
    "disconnect": "abandoned",
    **{reason: reason for reason in "exit_code trap time stdout descriptors shutdown failed starved".split()},
}
"""The value of the label `reason` for each StopReason and outcome: `disconnect` also has refused output as a cause."""
_LIMITS = "time memory stdout stderr body body_time header_block queue queue_time spool descriptors".split()
_CALLS = "answered denied refused failed timeout stopped".split()
_CALL_LIMITS = (
    "http_time http_connect_time http_request http_response http_headers http_calls http_max_concurrency".split()
)
_EXECUTORS: tuple[Executor, ...] = ("inline", "restarted", "thread")


class RequestEvent(NamedTuple):
    """A request that is over."""

    route: str
    """The route of its `[[module]]`, or NO_ROUTE."""
    status: int
    seconds: float
    body_size: int
    """Bytes of the response body that were sent."""


class GuestEvent(NamedTuple):
    """A guest that has ended."""

    route: str
    """The route of its `[[module]]`."""
    executor: Executor
    outcome: Outcome
    stop_reason: StopReason | None
    stderr_dropped: int
    """Bytes of standard error beyond `limits.stderr`."""


class WorkerMetrics:
    """The metrics of a process, for all routes.

    Methods are called on the event loop's thread, but for `RouteMetrics.count_call`.
    """

    def __init__(self, counters: SharedCounters | None = None) -> None:
        """`counters` are those another process reads."""
        self.counters = counters or SharedCounters()
        self.numbers = self.counters.numbers
        self.requests: list[RequestEvent] = []
        """Events that are not counted yet."""
        self.guests: list[GuestEvent] = []
        """Events that are not counted yet."""
        self.connections: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Returns how many connections are open, and how many were refused."""
        self._routes: dict[str, RouteMetrics] = {}
        self._in_flight = self._add(metrics.IN_FLIGHT)
        self._connections = self._add(metrics.CONNECTIONS)
        self._refused = self._add(metrics.REFUSED)
        self._ready = self._add(metrics.READY)

    def route(self, route: str) -> RouteMetrics:
        """The series of a `[[module]]` by its route; a reload that keeps the route continues them."""
        counts = self._routes.get(route)
        if counts is None:
            counts = self._routes[route] = RouteMetrics(self.counters, route)
        return counts

    def count(self) -> None:
        """Counts the events of requests and guests."""
        requests, self.requests = self.requests, []
        for route, status, seconds, size in requests:
            self.route(route).count_request(status, seconds, size)
        guests, self.guests = self.guests, []
        for route, executor, outcome, reason, dropped in guests:
            self.route(route).count_guest(executor, outcome, reason, dropped)
            if outcome.was_short_of_memory:
                self.route(route).count_limit("memory")

    def show(self, in_flight: int, loads: Mapping[str, tuple[int, int]]) -> None:
        """Sets the gauges: requests in flight and, by route, running guests and waiting requests."""
        self.numbers[self._in_flight] = in_flight
        self.numbers[self._connections], self.numbers[self._refused] = self.connections()
        for route, counts in self._routes.items():
            if route != NO_ROUTE:
                counts.show(*loads.get(route, (0, 0)))

    def set_ready(self, is_ready: bool) -> None:
        """Sets whether guests can run, with every module warm."""
        self.numbers[self._ready] = is_ready

    def count_loads(self, loads: Mapping[tuple[str, str], int]) -> None:
        """Counts the modules of a new site by their source: cache, compiler or registry."""
        for (name, value), count in loads.items():
            self.numbers[self._add(metrics.BY_NAME[name], value)] += count

    def _add(self, metric: Metric, *values: str) -> int:
        return self.counters.add(metric.key(*values))


class RouteMetrics:
    """The series of one route."""

    __slots__ = (
        "_calls",
        "_counters",
        "_executors",
        "_failures",
        "_guest",
        "_limits",
        "_lock",
        "_numbers",
        "_queue",
        "_request",
        "_route",
        "_running",
        "_size",
        "_statuses",
        "_traps",
    )

    def __init__(self, counters: SharedCounters, route: str) -> None:
        """Creates the series with 0, so that Prometheus sees the first event as an increase."""
        self._counters = counters
        self._numbers = counters.numbers
        self._route = route
        self._lock = Lock()
        self._statuses: dict[int, int] = {}
        self._traps: dict[str, int] = {}
        self._calls: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._request = self._add(metrics.REQUEST_DURATION)
        self._size = self._add(metrics.RESPONSE_BYTES)
        if route == NO_ROUTE:
            return
        self._guest = self._add(metrics.GUEST_DURATION)
        self._running = self._add(metrics.RUNNING)
        self._queue = self._add(metrics.QUEUE)
        self._executors = {executor: self._add(metrics.GUESTS, executor) for executor in _EXECUTORS}
        self._failures = {reason: self._add(metrics.GUEST_FAILURES, reason) for reason in _FAILURES.values()}
        self._limits = {limit: self._add(metrics.LIMIT_HITS, limit) for limit in _LIMITS}
        self._calls = {outcome: self._add(metrics.CALLS, outcome) for outcome in _CALLS}

    def count_request(self, status: int, seconds: float, size: int) -> None:
        """Counts a request at its end; `size` is bytes of the response's body."""
        numbers, first = self._numbers, self._request
        numbers[self._statuses.get(status) or self._add_status(status)] += 1
        numbers[first + bisect_left(BOUNDS, seconds)] += 1
        numbers[first + _SUM] += int(seconds * 1e9)
        numbers[self._size] += size

    def show(self, running: int, waiting: int) -> None:
        """Sets the gauges of running guests and of waiting requests."""
        self._numbers[self._running] = running
        self._numbers[self._queue] = waiting

    def count_guest(self, executor: Executor, outcome: Outcome, reason: StopReason | None, dropped: int) -> None:
        """Counts a guest at its end; `dropped` is bytes of standard error beyond `limits.stderr`."""
        numbers, first = self._numbers, self._guest
        numbers[self._executors[executor]] += 1
        numbers[first + bisect_left(BOUNDS, outcome.seconds)] += 1
        numbers[first + _SUM] += int(outcome.seconds * 1e9)
        if reason or outcome.code or outcome.kind != "exit":
            self._count_failure(outcome, reason)
        if dropped:
            self.count_limit("stderr")

    def _count_failure(self, outcome: Outcome, reason: StopReason | None) -> None:
        if (failure := failure_of(outcome, reason)) is not None:
            self._numbers[self._failures[failure]] += 1
        if reason and reason in _LIMITS:
            self.count_limit(reason)
        elif failure == "trap":
            trap = trap_of(outcome)
            if trap not in self._traps:
                self._traps[trap] = self._add(metrics.TRAPS, trap)
            self._numbers[self._traps[trap]] += 1

    def count_limit(self, limit: str) -> None:
        """Counts that a limit was reached."""
        if limit not in self._limits:
            self._limits[limit] = self._add(metrics.LIMIT_HITS, limit)
        self._numbers[self._limits[limit]] += 1

    def count_call(self, call: Call) -> None:
        """Counts an outbound call at its end. May be called on any thread."""
        with self._lock:
            if _CALL_LIMITS[0] not in self._limits:
                self._limits |= {limit: self._add(metrics.LIMIT_HITS, limit) for limit in _CALL_LIMITS}
            first = self._add(metrics.CALL_DURATION)
            self._numbers[self._calls[call.outcome]] += 1
            self._numbers[first + bisect_left(BOUNDS, call.seconds)] += 1
            self._numbers[first + _SUM] += int(call.seconds * 1e9)
            if call.limit:
                self.count_limit(call.limit)

    def _add_status(self, status: int) -> int:
        """Adds the series of a status; unassigned statuses, which a guest may choose, share a label such as `5xx`."""
        label = str(status) if status in _STATUSES else f"{status // 100}xx"
        index = self._statuses[status] = self._add(metrics.REQUESTS, label)
        return index

    def _add(self, metric: Metric, *values: str) -> int:
        return self._counters.add(
            metric.key(self._route, *values), _HISTOGRAM_SIZE if metric.kind == "histogram" else 1
        )


def failure_of(outcome: Outcome, reason: StopReason | None) -> str | None:
    """The label `reason` of a failed guest; None for a guest that ended with exit code 0."""
    if not (reason or outcome.code or outcome.kind != "exit"):
        return None
    return _FAILURES.get(reason or ("exit_code" if outcome.kind == "exit" else outcome.kind))


def trap_of(outcome: Outcome) -> str:
    """The label `trap` of a guest that trapped."""
    return _TRAPS.get(outcome.trap, "other")
