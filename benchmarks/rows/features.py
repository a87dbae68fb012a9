"""Rows: what the access log costs, and what the metrics do."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, Server, gateway
from ..harness.target import COST_TIMES
from ..harness.turns import alternate
from ..report.table import Row, beside

NAMES = ("access-log", "metrics")


def features(plan: Plan) -> Iterator[Row]:
    """Measures gateways with one feature each beside one without. The log goes to a file; nobody asks for metrics."""
    with ExitStack() as stack:

        def serve(name: str, *arguments: str, access: bool = False) -> Server:
            modules = {ROUTE: HELLO_WAT}
            return stack.enter_context(gateway(plan.folder(name), modules, *arguments, access=access))

        servers = [
            serve("without"),
            serve("access-log", "--log-format", "text", access=True),
            serve("metrics", "--admin", f"unix:{plan.directory / 'admin.sock'}"),
        ]
        loads = [functools.partial(server.load, plan.seconds) for server in servers]
        without, *found = alternate(plan.rounds, loads)
    measures = ("access log on", "metrics and admin listener on")
    bounds = (1.12, 1.03)
    for name, measure, bound, samples in zip(NAMES, measures, bounds, found, strict=True):
        yield beside(name, measure, "off", samples, without, cost=plan.target(bound, COST_TIMES, is_most=True))
