"""Row: the hello module without CPU affinity."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.cores import ALL
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.server import HELLO_WAT, ROUTE, Server, bare
from ..harness.turns import alternate
from ..report.table import Row, beside
from .against import against

MEASURE = "hello module over HTTP, server and load on all cores"


def unpinned(plan: Plan) -> Iterator[Row]:
    """Measures the gateway and bare uvicorn in turns; servers and load may run on all cores."""
    with ExitStack() as stack:
        pair = stack.enter_context(gateways(plan, "unpinned", {ROUTE: HELLO_WAT}, cores=ALL))
        reference = stack.enter_context(bare(cores=ALL))
        servers = (reference, *pair.servers)
        found = alternate(plan.rounds, [functools.partial(_load, plan, server) for server in servers])
    theirs, ours, *others = found
    yield beside("unpinned", MEASURE, "bare uvicorn, likewise", ours, theirs)
    yield from against(plan, "unpinned", MEASURE, ours, others)


def _load(plan: Plan, server: Server) -> Sample:
    return server.load(plan.seconds, cores=ALL)
