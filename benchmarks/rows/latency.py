"""Rows: the 99th percentile of latency beside the median, at half of the maximum rate."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..harness.cores import LOAD, pinned
from ..harness.load import CONNECTIONS
from ..harness.pace import Latency, pace
from ..harness.plan import Plan
from ..harness.sample import Sample, Work
from ..harness.server import HELLO_WAT, ROUTE, Server, bare, gateway
from ..harness.target import Target, number
from ..report.table import Row, costs, ratio

MEASURE = "p99 latency at half of the maximum rate"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one server did at the constant rate."""

    latency: Latency
    sample: Sample


def latency(plan: Plan) -> Iterator[Row]:
    """Measures the maximum rate in each turn, then the latency at half of it.

    Bare uvicorn at the same rate shows the share of the machine.
    """
    ours: list[Turn] = []
    theirs: list[Turn] = []
    halves = []
    with gateway(plan.folder("latency"), {ROUTE: HELLO_WAT}) as server, bare() as reference:
        for _ in range(plan.rounds + 1):
            halves.append(server.load(plan.seconds).rate / 2)
            ours.append(_pace(server, halves[-1], plan.seconds))
            theirs.append(_pace(reference, halves[-1], plan.seconds))
    target = plan.target(3.5, is_most=True)
    if plan.is_quick:
        # On a busy machine the 99th percentile shows the other programs; bare uvicorn shows them as well.
        by_the_machine = statistics.median(turn.latency.p99 / turn.latency.median for turn in theirs[1:])
        target = replace(target, bound=max(target.bound, by_the_machine))
    at = f"at {number(statistics.median(halves[1:]))} requests/s"
    yield _row("latency", MEASURE, ours[1:], at, target)
    yield _row("latency-bare", "the same rate, bare uvicorn", theirs[1:], at)


def _pace(server: Server, rate: float, seconds: float) -> Turn:
    found: list[Latency] = []

    def work() -> Work:
        with pinned(LOAD):
            found.append(pace(server.url + ROUTE, rate, seconds, CONNECTIONS))
        return Work(found[0].count, rate)

    sample = server.meter(work)
    return Turn(found[0], sample)


def _row(name: str, measure: str, found: Sequence[Turn], at: str, target: Target | None = None) -> Row:
    p99 = [turn.latency.p99 * 1e6 for turn in found]
    p50 = [turn.latency.median * 1e6 for turn in found]
    row = ratio(name, measure, "our own p50" if target else "its own p50", p99, p50, target, "µs")
    return replace(row, detail=f"{row.detail} {at}", costs=costs("request", [turn.sample for turn in found]))
