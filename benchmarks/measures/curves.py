"""The cost of a request as a function of one quantity."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from ..guests.wat import ENVIRON_WAT, padded, streams
from ..harness.load import CONNECTIONS
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, Server, gateway
from ..harness.turns import alternate

UNIT = "µs"
_ROUNDS = 3
_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The cost of a request at several values of one quantity."""

    name: str
    title: str
    axis: str
    points: tuple[tuple[float, list[float]], ...]
    """A value of the quantity, and the microseconds of a request in each turn."""

    @property
    def medians(self) -> list[tuple[float, float]]:
        """Value of the quantity, median of microseconds."""
        return [(x, statistics.median(values)) for x, values in self.points]


def curves(plan: Plan) -> list[Curve]:
    """All curves. A curve has one gateway (routes: one for each point), and its points are measured in turns."""
    return [_variables(plan), _response(plan), _module(plan), _routes(plan), _concurrency(plan)]


def _measure(points: Sequence[float], servers: Sequence[Callable[[], float]]) -> tuple[tuple[float, list[float]], ...]:
    rates = alternate(_ROUNDS, servers)
    return tuple((x, [1e6 / rate for rate in values]) for x, values in zip(points, rates, strict=True))


def _paths(server: Server, points: Sequence[int]) -> tuple[tuple[float, list[float]], ...]:
    return _measure(points, [functools.partial(server.rate, _SECONDS, path=f"/{point}") for point in points])


def _directory(plan: Plan, name: str) -> Path:
    directory = plan.directory / f"curve-{name}"
    directory.mkdir()
    return directory


def _variables(plan: Plan) -> Curve:
    directory, points = _directory(plan, "variables"), (0, 25, 50, 100, 200)
    tables = "".join(
        f'[[module]]\nroute = "/{count}"\nmodule = "{ENVIRON_WAT}"\n[module.environment]\n'
        + "".join(f'VARIABLE_{number} = "value of variable {number}"\n' for number in range(count))
        for count in points
    )
    with gateway(directory, {}, settings=tables) as server:
        return Curve("variables", "Environment variables", "variables beside the request's own", _paths(server, points))


def _response(plan: Plan) -> Curve:
    directory, points = _directory(plan, "response"), tuple(4**power for power in range(3, 11))
    for size in points:
        (directory / f"{size}.wat").write_text(streams(size))
    with gateway(directory, {f"/{size}": directory / f"{size}.wat" for size in points}) as server:
        return Curve("response", "Response size", "bytes", _paths(server, points))


def _module(plan: Plan) -> Curve:
    directory, counts = _directory(plan, "module"), (0, 10, 100, 1000, 10000)
    sizes = []
    for count in counts:
        module = wasmtime.wat2wasm(padded(count))
        (directory / f"{count}.wasm").write_bytes(module)
        sizes.append(len(module))
    with gateway(directory, {f"/{count}": directory / f"{count}.wasm" for count in counts}) as server:
        points = zip(sizes, _paths(server, counts), strict=True)
        return Curve("module", "Module size", "bytes", tuple((size, values) for size, (_, values) in points))


def _routes(plan: Plan) -> Curve:
    points = (1, 10, 100, 1000, 10000)
    with ExitStack() as stack:
        servers = []
        for count in points:
            paths = [f"/path/to/hello/{number}" for number in range(count)]
            server = gateway(_directory(plan, f"routes-{count}"), dict.fromkeys(paths, HELLO_WAT))
            servers.append((stack.enter_context(server), paths[-1]))
        measures = [functools.partial(server.rate, _SECONDS, path=path) for server, path in servers]
        return Curve("routes", "Routes", "routes, the last one asked", _measure(points, measures))


def _concurrency(plan: Plan) -> Curve:
    points = (1, 2, 4, 8, CONNECTIONS, 32, 64, 128)
    settings = "[limits]\nconcurrency = 64\nqueue = 1000\n"
    with gateway(_directory(plan, "concurrency"), {"/hello": HELLO_WAT}, settings=settings) as server:
        measures = [functools.partial(server.rate, _SECONDS, count) for count in points]
        return Curve("concurrency", "Concurrency", "connections", _measure(points, measures))
