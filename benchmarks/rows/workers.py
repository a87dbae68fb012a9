"""Row: two workers beside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.cores import ALL, TWO
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, gateway
from ..harness.turns import alternate
from ..report.table import Row, ratio


def workers(plan: Plan) -> Iterator[Row]:
    """Measures one worker and two on the same two cores; the load may run on all cores."""
    one, two = plan.directory / "one", plan.directory / "two"
    one.mkdir()
    two.mkdir()
    with ExitStack() as stack:
        single = stack.enter_context(gateway(one, {ROUTE: HELLO_WAT}, cores=TWO))
        double = stack.enter_context(gateway(two, {ROUTE: HELLO_WAT}, "--workers", "2", cores=TWO))
        ours, theirs = alternate(
            plan.rounds, [lambda: double.rate(plan.seconds, cores=ALL), lambda: single.rate(plan.seconds, cores=ALL)]
        )
    yield ratio("workers", "2 workers", "1 worker", ours, theirs, plan.target(1.7))
