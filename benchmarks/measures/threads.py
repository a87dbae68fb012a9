"""One worker with guests on threads beside two workers, for quick guests and for guests that compute."""

from __future__ import annotations

import functools
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

import wasmtime

from ..guests.wat import COUNTS, computes
from ..harness.cores import ALL, TWO
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, Server, gateway
from ..harness.turns import alternate

_MILLISECONDS = (1, 5, 50)
_ROUNDS = 3
_SECONDS = 1.0
_TRIAL = 5_000_000
"""Iterations of the loop in a measurement of its speed."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Requests per second with one worker and with two, in each turn."""

    guest: str
    one: list[float]
    two: list[float]

    @property
    def ratio(self) -> float:
        """The factor that the second worker brings."""
        return statistics.median(two / one for one, two in zip(self.one, self.two, strict=True))


def scaling(plan: Plan) -> list[Scaling]:
    """Measures one and two workers on two cores, with a load that may run on all cores."""
    directory = plan.folder("scaling")
    modules = {"/0": HELLO_WAT}
    turns_per_ms = _turns_per_millisecond()
    for milliseconds in _MILLISECONDS:
        modules[f"/{milliseconds}"] = directory / f"{milliseconds}.wat"
        modules[f"/{milliseconds}"].write_text(computes(int(turns_per_ms * milliseconds)))
    with ExitStack() as stack:
        servers = []
        for workers in (1, 2):
            own = plan.folder(f"scaling/{workers}")
            servers.append(stack.enter_context(gateway(own, modules, "--workers", str(workers), cores=TWO)))
        found = []
        for path in modules:
            measures = [functools.partial(_rate, server, path) for server in servers]
            one, two = alternate(_ROUNDS, measures)
            found.append(Scaling("hello" if path == "/0" else f"computes for {path[1:]} ms", one, two))
    return found


def _rate(server: Server, path: str) -> float:
    return server.load(_SECONDS, path=path, cores=ALL).rate


def _turns_per_millisecond() -> float:
    """Iterations of the computing guest's loop per millisecond, in the best of five runs."""
    config = wasmtime.Config()
    config.epoch_interruption = True  # as in the gateway: each iteration checks the epoch
    store = wasmtime.Store(wasmtime.Engine(config))
    store.set_epoch_deadline(1)
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, COUNTS), []).exports(store)
    count = exports["count"]
    assert isinstance(count, wasmtime.Func)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        count(store, _TRIAL)
        seconds.append(time.perf_counter() - begin)
    return _TRIAL / min(seconds) / 1000
