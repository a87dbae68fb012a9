"""Row: the memory of warm modules in an idle worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..guests.wat import LOG_RS, variant
from ..harness.plan import Plan
from ..harness.server import gateway
from ..harness.target import number
from ..report.table import Measured, Row

MODULES = 100
_MIB = 2**20


def memory(plan: Plan) -> Iterator[Row]:
    """Compares two gateways after a start from the cache: with one module, and with a hundred different modules.

    The measure is proportional resident memory (Pss) without the mappings of the cache's files, the artefacts.
    """
    growths, details = [], []
    for turn in range(2 if plan.is_quick else plan.rounds + 1):
        one, many = (_resident(plan.directory / f"memory-{count}", count) for count in (1, MODULES))
        if turn:  # the first start compiles
            growths.append((many - one) / _MIB)
            details.append(f"{number(many / _MIB)} / {number(one / _MIB)} MiB")
    quantity = Measured(growths, plan.target(40, "MiB", is_most=True), "MiB")
    measure = f"memory of an idle worker with {MODULES} warm modules, over what the artefacts map"
    yield Row("memory", measure, "the same with one", (quantity,), sorted(details)[len(details) // 2])


def _resident(directory: Path, count: int) -> int:
    directory.mkdir(exist_ok=True)
    program = LOG_RS.read_bytes()
    modules = {}
    for index in range(count):
        modules[f"/{index}"] = directory / f"{index}.wasm"
        modules[f"/{index}"].write_bytes(variant(program, index))
    with gateway(directory, modules) as server:
        return server.process.resident_outside(directory / "cache")
