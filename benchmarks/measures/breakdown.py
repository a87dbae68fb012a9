"""The parts of the time of one request."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass

from ..guests.wat import ENVIRON_WAT
from ..harness.cores import SERVER, pinned
from ..harness.plan import Plan
from ..harness.server import ROUTE, bare, gateway
from ..loops.calls import KINDS
from ..loops.request import cgi, load_hello
from ..loops.sandbox import SandboxLoops
from ..servers.bare import BUSY

_COUNT = 2000
"""Guests per loop."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a request."""

    name: str
    how: str
    """The method of measurement, for the page."""
    values: list[float]
    """Microseconds in each turn."""

    @property
    def median(self) -> float:
        """The median of the turns."""
        return statistics.median(self.values)


def breakdown(plan: Plan) -> list[Part]:
    """The parts of a request in their order; their sum is the time of a request to the gateway."""
    directory = plan.directory / "breakdown"
    directory.mkdir()
    site = load_hello()
    turns = []
    with ExitStack() as stack:
        server = stack.enter_context(gateway(directory, {ROUTE: ENVIRON_WAT}))
        reference = stack.enter_context(bare())
        busy = stack.enter_context(bare("busy"))
        loops = SandboxLoops(site)
        for _ in range(plan.rounds + 1):
            http = 1e6 / reference.rate(plan.seconds)
            waking = 1e6 / busy.rate(plan.seconds) - http - BUSY * 1e6
            total = 1e6 / server.rate(plan.seconds)
            with pinned(SERVER):
                pure = cgi(site, _COUNT)
                kinds = loops.bare.run_by_kind(_COUNT)
                entry = loops.entry(_COUNT)
                guest = loops.guest(_COUNT)
            parts = [http, waking, pure, *kinds, entry - sum(kinds), guest - entry]
            turns.append([*parts, total - sum(parts)])
    columns = [list(values) for values in zip(*turns[1:], strict=True)]
    names = [
        ("HTTP server", "bare uvicorn answering a constant: 1 / its requests per second"),
        ("waking the load", "bare uvicorn that is busy for 50 µs longer, less both"),
        ("CGI", "route, environment, arguments, header block: a loop over these functions"),
        *((f"C: {kind}", "clock before and after these calls in the bare loop") for kind in KINDS),
        ("sandbox, Python", "the sandbox alone, less the calls of the bare loop"),
        ("hand-over", "start, read and release of a guest, less the sandbox alone"),
        ("rest", "1 / requests per second of the gateway, less all of the above: exchange, reply, log, cold caches"),
    ]
    return [Part(*name, values) for name, values in zip(names, columns, strict=True)]
