"""Rows: pre-initialised components, a request at a time, in milliseconds."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from ..guests.programs import flask, javascript_hello, python_hello, unmodified_flask
from ..harness.cores import SERVER, pinned
from ..harness.errors import Failed
from ..harness.plan import Plan
from ..harness.server import Server, gateway
from ..harness.turns import alternate
from ..loops.components import raw
from ..report.table import Measured, Row, ratio
from .start import ready

NAMES = ("python-hello", "flask", "flask-unmodified", "javascript-hello", "component-start")
_HTTP = "HTTP, one client"
_REQUESTS, _FEW = 100, 5
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
        hello, flasks, fetch, unmodified = alternate(plan.rounds, [*measures, _requests(server, "/unmodified/", _FEW)])
    yield Row(
        "python-hello",
        "Python hello (componentize-py): a guest alone; HTTP, one client",
        "-",
        (
            Measured(raws, plan.target(1.5, "ms", is_most=True), "ms"),
            Measured(hello, plan.target(2.5, "ms", is_most=True), "ms"),
        ),
    )
    yield _row("flask", "Flask: session, template, JSON", flasks, plan, 8)
    target = plan.target(80)
    faster = "Flask on CPython-WASI, unmodified"
    yield ratio("flask-unmodified", faster, "the same, pre-initialised", unmodified, flasks, target, "ms")
    yield _row("javascript-hello", "JavaScript hello (componentize-js)", fetch, plan, 2)
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


def _requests(server: Server, path: str, count: int) -> Callable[[], float]:
    """A function that returns the median of sequential requests in milliseconds."""
    return lambda: _median(server, path, count)


def _median(server: Server, path: str, count: int) -> float:
    times = []
    with server.awake():
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
    return statistics.median(times)
