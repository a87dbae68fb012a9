"""Row: a request body of 1 MiB, echoed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from ..guests.wat import ECHO
from ..harness.load import UPLOAD
from ..harness.plan import Plan
from ..harness.server import ROUTE, bare, gateway
from ..harness.turns import alternate
from ..report.table import Row, ratio

CONNECTIONS = 4
"""Enough to keep the server busy while a client reads."""


def upload(plan: Plan) -> Iterator[Row]:
    """Measures a guest that copies standard input to standard output, and an echo application on bare uvicorn."""
    directory = plan.directory / "upload"
    directory.mkdir()
    guest = directory / "echo.wat"
    guest.write_text(ECHO)
    with ExitStack() as stack:
        server = stack.enter_context(gateway(directory, {ROUTE: guest}))
        reference = stack.enter_context(bare("echo"))
        ours, theirs = alternate(
            plan.rounds,
            [
                lambda: server.rate(plan.seconds, CONNECTIONS, script=UPLOAD),
                lambda: reference.rate(plan.seconds, CONNECTIONS, script=UPLOAD),
            ],
        )
    yield ratio("upload", "1 MiB upload echoed", "bare uvicorn echo", ours, theirs, plan.target(0.4))
