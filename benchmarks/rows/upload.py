"""Row: a request body of 1 MiB, echoed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

from ..guests.wat import ECHO
from ..harness.load import UPLOAD
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.server import ROUTE, Server, bare
from ..harness.turns import alternate
from ..report.table import Row, beside
from .against import against

CONNECTIONS = 4
"""Enough to keep the server busy while a client reads."""
MEASURE = "1 MiB upload echoed"


def upload(plan: Plan) -> Iterator[Row]:
    """Measures a guest that copies standard input to standard output, and an echo application on bare uvicorn."""
    guest = plan.folder("upload") / "echo.wat"
    guest.write_text(ECHO)
    with ExitStack() as stack:
        pair = stack.enter_context(gateways(plan, "upload", {ROUTE: guest}))
        reference = stack.enter_context(bare("echo"))
        servers = (reference, *pair.servers)
        found = alternate(plan.rounds, [functools.partial(_load, plan, server) for server in servers])
    theirs, ours, *others = found
    yield beside("upload", MEASURE, "bare uvicorn echo", ours, theirs, plan.target(0.5))
    yield from against(plan, "upload", MEASURE, ours, others)


def _load(plan: Plan, server: Server) -> Sample:
    return server.load(plan.seconds, CONNECTIONS, script=UPLOAD)
