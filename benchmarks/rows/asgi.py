"""Row: the hello module in process, without a network, each turn in a process of its own."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..harness.cores import SERVER, pinned
from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.server import HELLO_WAT, ROUTE
from ..harness.turns import alternate
from ..report.table import Row, alone
from .against import against

MEASURE = "hello module in process: ASGI calls"
_LOOP = Path(__file__).parents[1] / "loops" / "asgi.py"
_PER_SECOND = 5_000
"""Requests for each second of a load."""


def asgi(plan: Plan) -> Iterator[Row]:
    """Measures the application of this checkout and of the other one."""
    directory = plan.folder("asgi")
    config = directory / "modules.toml"
    config.write_text(
        f'[[module]]\nroute = "{ROUTE}"\nmodule = "{HELLO_WAT}"\n[log]\naccess = false\n[cache]\nenabled = false\n'
    )
    pythons = [Path(sys.executable)]
    if plan.against:
        pythons.append(plan.against.directory / ".venv/bin/python")
    count = max(500, round(_PER_SECOND * plan.seconds))
    ours, *others = alternate(plan.rounds, [functools.partial(_run, python, config, count) for python in pythons])
    yield alone("asgi", MEASURE, ours)
    yield from against(plan, "asgi", MEASURE, ours, others)


def _run(python: Path, config: Path, count: int) -> Sample:
    with pinned(SERVER):
        # -P, or modules beside the file would hide those of the standard library
        command = [str(python), "-P", str(_LOOP), str(config), str(count)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Failed(f"{python} does not run {_LOOP.name}:\n{ended.stderr}")
    cost = float(ended.stdout)
    return Sample(1e6 / cost, cost)
