"""Rows: the sandbox beside a bare loop over the same C API calls."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ..harness.cores import SERVER, pinned
from ..harness.plan import Plan
from ..harness.turns import alternate
from ..loops.request import load_hello
from ..loops.sandbox import SandboxLoops
from ..report.table import Row, ratio

MEASURE = "sandbox alone, hello module that reads its environment"
REFERENCE = "a bare loop over the same C API calls"
_SHARE = 5
"""The divisor of the load's duration that gives the duration of a loop."""


def sandbox(plan: Plan) -> Iterator[Row]:
    """Measures all loops in this process, on the server's core."""
    with pinned(SERVER):
        loops = SandboxLoops(load_hello())
        count = max(100, int(plan.seconds / _SHARE / loops.entry(200) * 1e6))
        measures = (loops.entry, loops.bare.run, loops.on_a_thread, loops.bare_on_a_thread.run)
        found = alternate(plan.rounds * 2, [functools.partial(measure, count) for measure in measures])
    entry, bare, on_a_thread, bare_on_a_thread = found
    target = plan.target(2.5, is_most=True)
    yield ratio("sandbox", MEASURE, REFERENCE, entry, bare, target, "µs")
    yield ratio(
        "sandbox-thread", "the same for a guest on a thread", REFERENCE, on_a_thread, bare_on_a_thread, unit="µs"
    )
