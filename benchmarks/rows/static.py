"""Row: a static file of 10 KiB."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, bare
from ..harness.target import COST_TIMES
from ..harness.turns import alternate
from ..report.table import Row, beside
from .against import against

MEASURE = "static file of 10 KiB"
_SIZE = 10 * 1024
_PATH = "/file.bin"


def static(plan: Plan) -> Iterator[Row]:
    """Measures a `[[static]]` table and Starlette's StaticFiles on bare uvicorn."""
    directory = plan.folder("static")
    (directory / _PATH.removeprefix("/")).write_bytes(bytes(_SIZE))
    table = f'[[static]]\nroute = "/..."\ndirectory = "{directory}"\n'
    with ExitStack() as stack:
        pair = stack.enter_context(gateways(plan, "static", {ROUTE: HELLO_WAT}, settings=table))
        servers = (stack.enter_context(bare("static", str(directory))), *pair.servers)
        loads = [functools.partial(server.load, plan.seconds, path=_PATH) for server in servers]
        theirs, ours, *others = alternate(plan.rounds, loads)
    targets = plan.target(1), plan.target(1, COST_TIMES, is_most=True)
    yield beside("static", MEASURE, "Starlette's StaticFiles on bare uvicorn", ours, theirs, *targets)
    yield from against(plan, "static", MEASURE, ours, others)
