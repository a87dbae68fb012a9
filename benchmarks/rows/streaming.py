"""Row: the rate of a long response, and the server's memory meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from ..guests.wat import streams
from ..harness.cores import LOAD, pinned
from ..harness.download import download
from ..harness.plan import Plan
from ..harness.server import Server, bare, gateway
from ..harness.target import number
from ..harness.turns import alternate
from ..report.table import Measured, Row, ratio

_SIZE = 2**30
_QUICK_SIZE = 2**27
_MIB = 2**20


def streaming(plan: Plan) -> Iterator[Row]:
    """Measures the same bytes in pieces of 64 KiB from a guest and from bare uvicorn, read by one client.

    Memory is the peak of resident memory in all turns, less the resident memory before the first turn.
    """
    size = _QUICK_SIZE if plan.is_quick else _SIZE
    directory = plan.directory / "streaming"
    directory.mkdir()
    guest = directory / "stream.wat"
    guest.write_text(streams(size))
    with ExitStack() as stack:
        limits = '[limits]\nstdout = "2GiB"\ntime = "120s"\n'
        server = stack.enter_context(gateway(directory, {"/stream": guest}, settings=limits))
        reference = stack.enter_context(bare("stream"))
        before = server.process.status("VmRSS")
        server.process.reset_peak()
        ours, theirs = alternate(
            plan.rounds,
            [lambda: _rate(server, "/stream", size), lambda: _rate(reference, f"/stream/{size}", size)],
        )
        growth = server.process.status("VmHWM") - before
    measure = f"response streaming, {size // _MIB:,} MiB"
    row = ratio("streaming", measure, "uvicorn streaming the same bytes from memory", ours, theirs, plan.target(0.5))
    memory = Measured([growth / _MIB], plan.target(32, "MiB", is_most=True), "MiB")
    rates = " / ".join(number(sorted(values)[len(values) // 2] / _MIB) for values in (ours, theirs))
    yield Row(row.name, row.measure, row.reference, (*row.quantities, memory), f"{rates} MiB/s")


def _rate(server: Server, path: str, size: int) -> float:
    with server.awake(), pinned(LOAD):
        return download(server.url + path, size)
