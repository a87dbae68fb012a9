"""Row: the time of a start with a large module in the cache."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..guests.cpython import cpython
from ..harness.cores import SERVER
from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.process import python, started, wait_ready
from ..harness.server import serve_command
from ..harness.turns import alternate
from ..report.table import Row, ratio

_IMPORT = "import wagi_gateway.cli.main, wagi_gateway.server.serve"


def start(plan: Plan) -> Iterator[Row]:
    """Measures from the start of the process to its ready line; the reference imports the modules of `serve` and exits.

    The first start compiles the module and does not count.
    """
    directory = plan.directory / "start"
    directory.mkdir()
    config = directory / "modules.toml"
    config.write_text(f'[[module]]\nroute = "/py"\nmodule = "{cpython()}"\nargv = "python"\n[log]\naccess = false\n')
    ours, theirs = alternate(plan.rounds * 2, [lambda: ready(config), _imported])
    yield ratio(
        "start",
        "start to ready, CPython-WASI cached",
        "Python importing the package",
        ours,
        theirs,
        plan.target(2, is_most=True),
        "s",
    )


def ready(config: Path) -> float:
    """Seconds from the start of a gateway to its ready line."""
    begin = time.perf_counter()
    log = config.parent / "log"
    with started(python(*serve_command(config)), SERVER, log) as process:
        wait_ready(process, "wagi-gateway", log)
        return time.perf_counter() - begin


def _imported() -> float:
    begin = time.perf_counter()
    with started([sys.executable, "-c", _IMPORT], SERVER) as process:
        if process.popen.wait():
            raise Failed("the package cannot be imported")
        return time.perf_counter() - begin
