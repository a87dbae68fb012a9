"""Row: the rate of a long response, and the server's memory meanwhile."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from ..guests.wat import streams
from ..harness.cores import LOAD, pinned
from ..harness.download import MIB, download
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.sample import Sample, Work
from ..harness.server import Server, bare
from ..harness.turns import alternate
from ..report.table import Measured, Row, beside
from .against import against

_SIZE = 2**30
_QUICK_SIZE = 2**27
_LIMITS = '[limits]\nstdout = "2GiB"\ntime = "120s"\n'


def streaming(plan: Plan) -> Iterator[Row]:
    """Measures the same bytes in pieces of 64 KiB from a guest and from bare uvicorn, read by one client.

    Memory is the peak of resident memory in all turns, less the resident memory before the first turn.
    """
    size = _QUICK_SIZE if plan.is_quick else _SIZE
    guest = plan.folder("streaming") / "stream.wat"
    guest.write_text(streams(size))
    path, measure = f"/stream/{size}", f"response streaming, {size // MIB:,} MiB"
    with ExitStack() as stack:
        pair = stack.enter_context(gateways(plan, "streaming", {path: guest}, settings=_LIMITS))
        reference = stack.enter_context(bare("stream"))
        before = pair.here.process.status("VmRSS")
        pair.here.process.reset_peak()
        servers = (reference, *pair.servers)
        found = alternate(plan.rounds, [functools.partial(_load, server, path, size) for server in servers])
        growth = pair.here.process.status("VmHWM") - before
    theirs, ours, *others = found
    reference_name = "uvicorn streaming the same bytes from memory"
    row = beside("streaming", measure, reference_name, ours, theirs, plan.target(0.6), unit="MiB")
    memory = Measured([growth / MIB], plan.target(32, "MiB", is_most=True), "MiB")
    yield replace(row, quantities=(*row.quantities, memory))
    yield from against(plan, "streaming", measure, ours, others, "MiB")


def _load(server: Server, path: str, size: int) -> Sample:
    def work() -> Work:
        with pinned(LOAD):
            return download(server.url + path, size)

    return server.meter(work)
