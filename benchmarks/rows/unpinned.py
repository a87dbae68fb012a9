"""Row: the hello module without CPU affinity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.cores import ALL
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, bare, gateway
from ..harness.turns import alternate
from ..report.table import Row, ratio

MEASURE = "hello module over HTTP, server and load on all cores"


def unpinned(plan: Plan) -> Iterator[Row]:
    """Measures the gateway and bare uvicorn in turns; servers and load may run on all cores."""
    directory = plan.directory / "unpinned"
    directory.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(gateway(directory, {ROUTE: HELLO_WAT}, cores=ALL))
        reference = stack.enter_context(bare(cores=ALL))
        ours, theirs = alternate(
            plan.rounds,
            [lambda: server.rate(plan.seconds, cores=ALL), lambda: reference.rate(plan.seconds, cores=ALL)],
        )
    yield ratio("unpinned", MEASURE, "bare uvicorn, likewise", ours, theirs)
