"""Row: the load of a precompiled artefact beside its compilation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import wasmtime

from ..guests.cpython import cpython
from ..harness.plan import Plan
from ..harness.turns import alternate
from ..loops.request import load_hello
from ..report.table import Row, ratio

_LOADS, _MAX_ROUNDS = 20, 3


def precompiled(plan: Plan) -> Iterator[Row]:
    """Measures in this process, on all cores, of which only the compiler uses several; a load is a median of 20."""
    engine, module = load_hello().engine, cpython().read_bytes()
    artefact = plan.directory / "artefact"
    artefact.write_bytes(wasmtime.Module(engine, module).serialize())

    def load() -> float:
        return statistics.median(_seconds(engine, str(artefact)) for _ in range(_LOADS))

    def compile_() -> float:
        begin = time.perf_counter()
        wasmtime.Module(engine, module).close()
        return time.perf_counter() - begin

    ours, theirs = alternate(min(plan.rounds, _MAX_ROUNDS), [load, compile_])
    yield ratio(
        "precompiled",
        "precompiled load, 26 MB module",
        "compiling it",
        ours,
        theirs,
        plan.target(1e-3, is_most=True),
        "s",
    )


def _seconds(engine: wasmtime.Engine, artefact: str) -> float:
    begin = time.perf_counter()
    module = wasmtime.Module.deserialize_file(engine, artefact)
    seconds = time.perf_counter() - begin
    module.close()
    return seconds
