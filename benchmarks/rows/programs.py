"""Rows: pre-initialised components, a request at a time, in milliseconds."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..guests.programs import flask, javascript_hello, python_hello, unmodified_flask
from ..harness.cores import SERVER, pinned
from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.sample import Sample, Work
from ..harness.server import Server, gateway
from ..harness.turns import alternate
from ..loops.components import raw
from ..report.table import Measured, Row, costs, ratio
from .start import ready

NAMES = ("python-hello", "flask", "flask-unmodified", "javascript-hello", "component-start")
_HTTP = "HTTP, one client"
_REQUESTS, _FEW = 100, 1
_PROGRAMS = {"hello": python_hello, "flask": flask, "fetch": javascript_hello}


def programs(plan: Plan) -> Iterator[Row]:
    """Measures all programs in turns: medians of requests over one connection, and of guests without a server."""
    directory = plan.directory / "programs"
    directory.mkdir()
    built = {name: build(directory) for name, build in _PROGRAMS.items()}
    modules = {f"/{name}/...": module for name, module in built.items()}
    with pinned(SERVER):
        raws = raw(built["hello"], plan.rounds)
    (directory / "gateway").mkdir()
    with gateway(directory / "gateway", modules, settings=unmodified_flask(directory)) as server:
        measures = [_requests(server, f"/{name}/", _REQUESTS) for name in built]
        found = alternate(plan.rounds, [*measures, _requests(server, "/unmodified/", _FEW)])
    hello, flasks, fetch, unmodified = ([turn.milliseconds for turn in turns] for turns in found)
    taken = [costs("request", [turn.sample for turn in turns]) for turns in found]
    yield Row(
        "python-hello",
        "Python hello (componentize-py): a guest alone; HTTP, one client",
        "-",
        (
            Measured(raws, plan.target(1.5, "ms", is_most=True), "ms"),
            Measured(hello, plan.target(2.5, "ms", is_most=True), "ms"),
        ),
        costs=taken[0],
    )
    yield replace(_row("flask", "Flask: session, template, JSON", flasks, plan, 8), costs=taken[1])
    target = plan.target(80)
    faster = "Flask on CPython-WASI, unmodified"
    row = ratio("flask-unmodified", faster, "the same, pre-initialised", unmodified, flasks, target, "ms")
    yield replace(row, costs=taken[3])
    yield replace(_row("javascript-hello", "JavaScript hello (componentize-js)", fetch, plan, 2), costs=taken[2])
    (directory / "start").mkdir()
    config = directory / "start/modules.toml"
    config.write_text(f'[[module]]\nroute = "/flask"\nmodule = "{built["flask"]}"\n[log]\naccess = false\n')
    (starts,) = alternate(plan.rounds * 2, [lambda: ready(config)])
    size = built["flask"].stat().st_size / 1e6
    measure = f"start to ready, component of {size:.0f} MB cached"
    yield Row("component-start", measure, "-", (Measured(starts, plan.target(1, "s", is_most=True), "s"),))


def _row(name: str, program: str, values: list[float], plan: Plan, bound: float) -> Row:
    measured = Measured(values, plan.target(bound, "ms", is_most=True), "ms")
    return Row(name, f"{program}: {_HTTP}", "-", (measured,))


@dataclass(frozen=True, slots=True)
class Turn:
    """Sequential requests of one client."""

    milliseconds: float
    """The median."""
    sample: Sample


def _requests(server: Server, path: str, count: int) -> Callable[[], Turn]:
    """A function that makes sequential requests."""
    return lambda: _turn(server, path, count)


def _turn(server: Server, path: str, count: int) -> Turn:
    times: list[float] = []

    def work() -> Work:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
        for _ in range(count):
            begin = time.perf_counter()
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            times.append((time.perf_counter() - begin) * 1e3)
            if response.status != 200:
                raise Failed(f"{path} answered {response.status} {body[:100]!r}")
        connection.close()
        return Work(count, count / sum(times) * 1e3)

    sample = server.meter(work)
    return Turn(statistics.median(times), sample)
