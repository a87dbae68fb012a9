"""What one process counts. A request leaves a note of itself; the notes are counted a few times a second.

To count each at once would cost it several times as much: the numbers and the code are out of the processor's cache by
then.
"""

from __future__ import annotations

import http
from bisect import bisect_left
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING

from . import metrics
from .metrics import BOUNDS, Metric
from .shared_counters import SharedCounters

if TYPE_CHECKING:  # what runs guests counts nothing itself
    from ..outbound.client import Call
    from ..sandbox.guest import Executor
    from ..sandbox.invocation import Outcome, StopReason

NO_ROUTE = "-"
"""The route of requests that no module is found for."""
_CELLS = len(BOUNDS) + 2
_SUM = _CELLS - 1
"""Of a histogram: a count for each bucket, one for what is beyond all bounds, and the sum in nanoseconds."""
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
"""Of a guest that nobody read on from, the client may have left, or its output have been refused."""
_LIMITS = "time memory stdout stderr body body_time header_block queue queue_time spool descriptors".split()
_CALLS = "answered denied refused failed timeout stopped".split()
_CALL_LIMITS = (
    "http_time http_connect_time http_request http_response http_headers http_calls http_max_concurrency".split()
)
_EXECUTORS: tuple[Executor, ...] = ("inline", "restarted", "thread")


class WorkerMetrics:
    """Counts for all routes. Belongs to the event loop, but for calls, which end on the guests' threads."""

    def __init__(self, counters: SharedCounters | None = None) -> None:
        """`counters` are those another process reads."""
        self.counters = counters or SharedCounters()
        self.numbers = self.counters.numbers
        self.requests: list[tuple[str, int, float, int]] = []
        """Those that are over: route of the `[[module]]`, status, seconds, bytes of the body."""
        self.guests: list[tuple[str, Executor, Outcome, StopReason | None, int, bool]] = []
        """Those that have ended: route, where they ran, how they ended, bytes of standard error dropped, and whether
        memory was short."""
        self.connections: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """How many are open, and how many were refused."""
        self._routes: dict[str, RouteMetrics] = {}
        self._in_flight = self._add(metrics.IN_FLIGHT)
        self._connections = self._add(metrics.CONNECTIONS)
        self._refused = self._add(metrics.REFUSED)
        self._ready = self._add(metrics.READY)

    def route(self, route: str) -> RouteMetrics:
        """The counts of a `[[module]]`, by its route; they go on where another configuration has the same."""
        counts = self._routes.get(route)
        if counts is None:
            counts = self._routes[route] = RouteMetrics(self.counters, route)
        return counts

    def count(self) -> None:
        """Counts what has been noted."""
        requests, self.requests = self.requests, []
        for route, status, seconds, size in requests:
            self.route(route).count_request(status, seconds, size)
        guests, self.guests = self.guests, []
        for route, executor, outcome, reason, dropped, is_short in guests:
            self.route(route).count_guest(executor, outcome, reason, dropped)
            if is_short:
                self.route(route).count_limit("memory")

    def show(self, in_flight: int, loads: Mapping[str, tuple[int, int]]) -> None:
        """How many requests are not over, and how many guests of a route run and requests wait."""
        self.numbers[self._in_flight] = in_flight
        self.numbers[self._connections], self.numbers[self._refused] = self.connections()
        for route, counts in self._routes.items():
            if route != NO_ROUTE:
                counts.show(*loads.get(route, (0, 0)))

    def set_ready(self, is_ready: bool) -> None:
        """Whether guests can run, with every module warm."""
        self.numbers[self._ready] = is_ready

    def count_loads(self, loads: Mapping[tuple[str, str], int]) -> None:
        """Where the modules of a site have come from."""
        for (name, value), count in loads.items():
            self.numbers[self._add(metrics.BY_NAME[name], value)] += count

    def _add(self, metric: Metric, *values: str) -> int:
        return self.counters.add(metric.key(*values))


class RouteMetrics:
    """Counts of one route."""

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
        """What may be counted begins with 0, so that the first of it is seen as an increase."""
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
        self._executors = {
            executor: self._add(metrics.GUESTS, executor) for executor in ("inline", "restarted", "thread")
        }
        self._failures = {reason: self._add(metrics.GUEST_FAILURES, reason) for reason in _FAILURES.values()}
        self._limits = {limit: self._add(metrics.LIMIT_HITS, limit) for limit in _LIMITS}
        self._calls = {outcome: self._add(metrics.CALLS, outcome) for outcome in _CALLS}

    def count_request(self, status: int, seconds: float, size: int) -> None:
        """A request is over: the status and bytes the client was sent."""
        numbers, first = self._numbers, self._request
        numbers[self._statuses.get(status) or self._add_status(status)] += 1
        numbers[first + bisect_left(BOUNDS, seconds)] += 1
        numbers[first + _SUM] += int(seconds * 1e9)
        numbers[self._size] += size

    def show(self, running: int, waiting: int) -> None:
        """How many guests run, and how many requests wait."""
        self._numbers[self._running] = running
        self._numbers[self._queue] = waiting

    def count_guest(self, executor: Executor, outcome: Outcome, reason: StopReason | None, dropped: int) -> None:
        """A guest has ended: where it ran, how it ended, and the bytes of standard error that were dropped."""
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
        """A limit was reached."""
        if limit not in self._limits:
            self._limits[limit] = self._add(metrics.LIMIT_HITS, limit)
        self._numbers[self._limits[limit]] += 1

    def count_call(self, call: Call) -> None:
        """An outbound call is over. Called on any thread."""
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
        """The cell of a status: a guest may choose any number, and those that mean nothing share one a class."""
        label = str(status) if status in _STATUSES else f"{status // 100}xx"
        index = self._statuses[status] = self._add(metrics.REQUESTS, label)
        return index

    def _add(self, metric: Metric, *values: str) -> int:
        return self._counters.add(metric.key(self._route, *values), _CELLS if metric.kind == "histogram" else 1)


def failure_of(outcome: Outcome, reason: StopReason | None) -> str | None:
    """Why a guest failed, in a word; None for one that ended with exit code 0."""
    if not (reason or outcome.code or outcome.kind != "exit"):
        return None
    return _FAILURES.get(reason or ("exit_code" if outcome.kind == "exit" else outcome.kind))


def trap_of(outcome: Outcome) -> str:
    """The kind of a trap, in a word."""
    return _TRAPS.get(outcome.trap, "other")
