"""The parts of the processor time of one request.

python -m benchmarks.measures.breakdown     # half a minute; needs wrk (Debian: apt-get install wrk)
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from wagi_gateway.app import create_app
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.observe import log

from ..guests.wat import ENVIRON_WAT
from ..harness.cores import SERVER, pinned
from ..harness.plan import Plan
from ..harness.server import ROUTE, bare, gateway
from ..harness.target import number
from ..loops.asgi import measure
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
    """The parts of a request in their order; their sum is the processor time of a request to the gateway."""
    log.configure(LogConfig(access=False))
    site = load_hello()
    turns = []
    with ExitStack() as stack:
        server = stack.enter_context(gateway(plan.folder("breakdown"), {ROUTE: ENVIRON_WAT}))
        reference = stack.enter_context(bare())
        busy = stack.enter_context(bare("busy"))
        loops = SandboxLoops(site)
        for _ in range(plan.rounds + 1):
            http = reference.load(plan.seconds).cost
            waking = busy.load(plan.seconds).cost - http - BUSY * 1e6
            total = server.load(plan.seconds).cost
            with pinned(SERVER):
                pure = cgi(site, _COUNT)
                kinds = loops.bare.run_by_kind(_COUNT)
                entry = loops.entry(_COUNT)
                guest = loops.guest(_COUNT)
                application = uvloop.run(measure(create_app(load_hello()), _COUNT))
            around = application - guest - pure
            parts = [http, waking, pure, *kinds, entry - sum(kinds), guest - entry, around]
            turns.append([*parts, total - sum(parts)])
    columns = [list(values) for values in zip(*turns[1:], strict=True)]
    names = [
        ("HTTP server", "processor time of bare uvicorn answering a constant"),
        ("waking the load", "processor time of bare uvicorn that is busy for 50 µs longer, less both"),
        ("CGI", "route, environment, arguments, header block: a loop over these functions"),
        *((f"C: {kind}", "processor time before and after these calls in the bare loop") for kind in KINDS),
        ("sandbox, Python", "the sandbox alone, less the calls of the bare loop"),
        ("hand-over", "start, read and release of a guest, less the sandbox alone"),
        ("exchange, reply", "an ASGI call of the application, less the guest and CGI"),
        ("rest", "processor time of the gateway, less all of the above: sockets, cold caches"),
    ]
    return [Part(*name, values) for name, values in zip(names, columns, strict=True)]


def main() -> None:
    """Prints the parts."""
    with tempfile.TemporaryDirectory() as directory:
        parts = breakdown(Plan(5, 1.0, is_quick=False, directory=Path(directory), wanted=frozenset()))
    for part in parts:
        print(f"{number(part.median):>6} µs  {part.name}: {part.how}")
    print(f"{number(sum(part.median for part in parts)):>6} µs  all")


if __name__ == "__main__":
    main()
