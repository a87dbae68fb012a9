"""The processor time of a request as a function of one quantity."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import wasmtime

from ..guests.wat import ENVIRON_WAT, padded, streams
from ..harness.load import CONNECTIONS
from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.server import HELLO_WAT, ROUTE, Server, bare, gateway
from ..harness.turns import alternate

UNIT = "µs"
_FEW_ROUNDS = 3
"""Turns of a curve that has no target."""
_SECONDS = 1.0
_VALUE = "a value of some length"


@dataclass(frozen=True, slots=True)
class Curve:
    """The processor time of a request at several values of one quantity."""

    name: str
    title: str
    axis: str
    points: tuple[tuple[float, list[float]], ...]
    """A value of the quantity, and the microseconds of a request in each turn."""

    @property
    def medians(self) -> list[tuple[float, float]]:
        """Value of the quantity, median of microseconds."""
        return [(x, statistics.median(values)) for x, values in self.points]

    @property
    def growth(self) -> list[float]:
        """The microseconds of the highest point, times those of the lowest: one value, of the medians."""
        medians = [cost for _, cost in self.medians]
        return [max(medians) / min(medians)]

    @property
    def slopes(self) -> list[float]:
        """Microseconds for each unit of the quantity by least squares, in each turn."""
        x = [value for value, _ in self.points]
        turns = zip(*(values for _, values in self.points), strict=True)
        return [statistics.linear_regression(x, turn).slope for turn in turns]


Points = tuple[tuple[float, list[float]], ...]


def _measure(rounds: int, points: Sequence[float], loads: Sequence[Callable[[], Sample]]) -> Points:
    found = alternate(rounds, loads)
    return tuple((x, [sample.cost for sample in samples]) for x, samples in zip(points, found, strict=True))


def _paths(server: Server, points: Sequence[int]) -> Points:
    loads = [functools.partial(server.load, _SECONDS, path=f"/{point}") for point in points]
    return _measure(_FEW_ROUNDS, points, loads)


def variables(plan: Plan) -> Curve:
    """Variables of the configuration, all in one gateway; the guest reads them."""
    points = (0, 50, 100, 200)
    tables = "".join(
        f'[[module]]\nroute = "/{count}"\nmodule = "{ENVIRON_WAT}"\n[module.environment]\n'
        + "".join(f'VARIABLE_{number} = "value of variable {number}"\n' for number in range(count))
        for count in points
    )
    with gateway(plan.folder("variables"), {}, settings=tables) as server:
        return Curve("variables", "Environment variables", "variables beside the request's own", _paths(server, points))


def response(plan: Plan) -> Curve:
    """Bytes that guests print."""
    directory, points = plan.folder("response"), (64, 4096, 65536, 2**20)
    for size in points:
        (directory / f"{size}.wat").write_text(streams(size))
    with gateway(directory, {f"/{size}": directory / f"{size}.wat" for size in points}) as server:
        return Curve("response", "Response size", "bytes", _paths(server, points))


def module(plan: Plan) -> Curve:
    """Bytes of a module, of which hardly any run."""
    directory, counts = plan.folder("module"), (0, 100, 1000, 10000)
    sizes = []
    for count in counts:
        data = wasmtime.wat2wasm(padded(count))
        (directory / f"{count}.wasm").write_bytes(data)
        sizes.append(len(data))
    with gateway(directory, {f"/{count}": directory / f"{count}.wasm" for count in counts}) as server:
        points = zip(sizes, _paths(server, counts), strict=True)
        return Curve("module", "Module size", "bytes", tuple((size, values) for size, (_, values) in points))


def routes(plan: Plan) -> Curve:
    """Routes of a gateway for each point; the last route is requested."""
    points = (1, 1000) if plan.is_quick else (1, 10, 100, 1000, 10000)
    with ExitStack() as stack:
        loads = []
        for count in points:
            paths = [f"/path/to/hello/{number}" for number in range(count)]
            server = gateway(plan.folder(f"routes-{count}"), dict.fromkeys(paths, HELLO_WAT))
            loads.append(functools.partial(stack.enter_context(server).load, _SECONDS, path=paths[-1]))
        return Curve("routes", "Routes", "routes, the last one asked", _measure(plan.rounds, points, loads))


def concurrency(plan: Plan) -> Curve:
    """Connections, each of which always has a request under way."""
    points = (1, 4, CONNECTIONS, 64, 256, 512)
    settings = "[limits]\nconcurrency = 64\nqueue = 1000\n"
    with gateway(plan.folder("concurrency"), {ROUTE: HELLO_WAT}, settings=settings) as server:
        loads = [functools.partial(server.load, _SECONDS, count) for count in points]
        return Curve("concurrency", "Concurrency", "connections", _measure(plan.rounds, points, loads))


def fields(plan: Plan) -> list[Curve]:
    """Header fields of a request, with Host, for a guest that reads none, for one that reads them all, and for bare
    uvicorn."""
    points, reads = (1, 50, 100), "/reads"
    modules = {ROUTE: HELLO_WAT, reads: ENVIRON_WAT}
    with gateway(plan.folder("fields"), modules) as server, bare() as reference:
        targets = [(server, ROUTE), (server, reads), (reference, ROUTE)]
        loads = [
            functools.partial(one.load, _SECONDS, path=path, fields=[f"x-field-{n}: {_VALUE}" for n in range(1, count)])
            for one, path in targets
            for count in points
        ]
        found = _measure(plan.rounds, points * len(targets), loads)
    names = [
        ("fields", "Header fields"),
        ("fields-read", "Header fields, read by the guest"),
        ("fields-bare", "Header fields, bare uvicorn"),
    ]
    step = len(points)
    return [
        Curve(name, title, "header fields of a request", found[step * index : step * (index + 1)])
        for index, (name, title) in enumerate(names)
    ]
