"""Row: two workers beside one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.cores import ALL, TWO
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.server import HELLO_WAT, ROUTE, Server, gateway
from ..harness.turns import alternate
from ..report.table import Row, beside
from .against import against

MEASURE = "2 workers"


def workers(plan: Plan) -> Iterator[Row]:
    """Measures one worker and two on the same two cores; the load may run on all cores."""
    with ExitStack() as stack:
        one = stack.enter_context(gateway(plan.folder("one-worker"), {ROUTE: HELLO_WAT}, cores=TWO))
        two = stack.enter_context(gateways(plan, "two-workers", {ROUTE: HELLO_WAT}, "--workers", "2", cores=TWO))
        servers = (one, *two.servers)
        found = alternate(plan.rounds, [functools.partial(_load, plan, server) for server in servers])
    theirs, ours, *others = found
    yield beside("workers", MEASURE, "1 worker", ours, theirs, plan.target(1.7))
    yield from against(plan, "workers", MEASURE, ours, others)


def _load(plan: Plan, server: Server) -> Sample:
    return server.load(plan.seconds, cores=ALL)
