"""Row: a thousand routes beside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, gateway
from ..harness.turns import alternate
from ..report.table import Row, ratio

MANY = 1000


def routes(plan: Plan) -> Iterator[Row]:
    """Measures two gateways in turns; requests to the gateway with many routes match the last route."""
    one, many = plan.directory / "one-route", plan.directory / "many-routes"
    one.mkdir()
    many.mkdir()
    paths = [f"/path/to/hello/{number}" for number in range(MANY)]
    with ExitStack() as stack:
        single = stack.enter_context(gateway(one, {paths[-1]: HELLO_WAT}))
        full = stack.enter_context(gateway(many, dict.fromkeys(paths, HELLO_WAT)))
        ours, theirs = alternate(
            plan.rounds,
            [lambda: full.rate(plan.seconds, path=paths[-1]), lambda: single.rate(plan.seconds, path=paths[-1])],
        )
    yield ratio("routes", f"{MANY:,} routes, last one asked", "1 route", ours, theirs, plan.target(0.95))
