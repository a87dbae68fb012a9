"""Row: a request whose guest makes one outbound call."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.cores import LOAD
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.server import ROUTE, serving
from ..harness.turns import alternate
from ..measures.outbound import GUEST
from ..report.table import Row, alone
from .against import against

MEASURE = "request with one outbound call"


def outbound(plan: Plan) -> Iterator[Row]:
    """Measures against bare uvicorn as the target of the calls, on the core of the load."""
    with ExitStack() as stack:
        target = stack.enter_context(serving("benchmarks.servers.bare", cores=LOAD)).url
        url, guest = target + ROUTE, plan.folder("outbound") / "call.wat"
        guest.write_text(GUEST.format(url=url, size=len(url), count=1))
        module = f'[[module]]\nroute = "{ROUTE}"\nmodule = "{guest}"\nallowed_hosts = ["{target}"]\n'
        pair = stack.enter_context(gateways(plan, "outbound", {}, settings=module))
        loads = [functools.partial(server.load, plan.seconds) for server in pair.servers]
        ours, *others = alternate(plan.rounds, loads)
    yield alone("outbound", MEASURE, ours)
    yield from against(plan, "outbound", MEASURE, ours, others)
