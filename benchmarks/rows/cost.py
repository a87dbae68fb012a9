"""Rows: the server's processor time for a request, by the kernel's accounting, here or beside another checkout.

Processor time moves by some per cent where requests per second move by half, so that these rows mean something on a
busy machine too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..guests.wat import ECHO, ENV_C, ENVIRON_WAT, VARIABLES_RS, streams
from ..harness.cores import LOAD, pinned
from ..harness.download import download
from ..harness.load import UPLOAD, wrk
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, Server, gateway
from ..harness.target import number
from ..harness.turns import alternate
from ..report.table import Measured, Row, ratio

_REQUESTS, _QUICK_REQUESTS = 20_000, 2_000
"""Requests in all turns, at least."""
_UPLOADS, _QUICK_UPLOADS = 2_000, 200
_GIB = 2**30
_MICRO = 1e6
_TARGET = 1.05
"""The most that a request may cost, times its cost in the other checkout."""


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of request."""

    name: str
    measure: str
    path: str
    count: int
    """Requests in all turns, at least."""
    script: Path | None = None
    """A script of wrk."""
    connections: int = 16
    size: int | None = None
    """Bytes of a response that one client reads alone, or None for a load of many requests."""


def _cases(plan: Plan) -> list[Case]:
    requests = _QUICK_REQUESTS if plan.is_quick else _REQUESTS
    uploads = _QUICK_UPLOADS if plan.is_quick else _UPLOADS
    size = _GIB // 8 if plan.is_quick else _GIB
    return [
        Case("cost-hello", "hello module", "/hello", requests),
        Case("cost-environment", "hello module that reads its environment", "/environ", requests),
        Case("cost-c", "C program that prints its environment", "/env", requests),
        Case("cost-rust", "Rust program that prints thirty lines", "/variables", requests),
        Case("cost-upload", "1 MiB upload echoed", "/echo", uploads, UPLOAD, 4),
        Case("cost-streaming", f"response of {size // 2**20:,} MiB", "/stream", plan.rounds, size=size),
    ]


NAMES = ("cost-hello", "cost-environment", "cost-c", "cost-rust", "cost-upload", "cost-streaming")


def cost(plan: Plan) -> Iterator[Row]:
    """Measures each kind of request on one core, in turns with the other checkout."""
    cases = [case for case in _cases(plan) if case.name in plan.wanted]
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(plan, "here"))]
        if plan.against:
            servers.append(stack.enter_context(_server(plan, "against", plan.against)))
        for case in cases:
            meters = [_Meter(plan, case, server) for server in servers]
            yield _row(plan, case, alternate(plan.rounds, meters), [meter.rate for meter in meters])


def _server(plan: Plan, name: str, checkout: Path | None = None) -> AbstractContextManager[Server]:
    directory = plan.directory / f"cost-{name}"
    directory.mkdir()
    (directory / "echo.wat").write_text(ECHO)
    (directory / "stream.wat").write_text(streams(_GIB // 8 if plan.is_quick else _GIB))
    modules = {
        "/hello": HELLO_WAT,
        "/environ": ENVIRON_WAT,
        "/env": ENV_C,
        "/variables": VARIABLES_RS,
        "/echo": directory / "echo.wat",
        "/stream": directory / "stream.wat",
    }
    return gateway(directory, modules, settings='[limits]\nstdout = "2GiB"\ntime = "120s"\n', checkout=checkout)


class _Meter:
    """Measures one server with one kind of request."""

    def __init__(self, plan: Plan, case: Case, server: Server) -> None:
        self._plan = plan
        self._case = case
        self._server = server
        self._rates: list[float] = []

    def __call__(self) -> float:
        """Seconds of processor time for each request."""
        wanted = -(-self._case.count // self._plan.rounds)
        with self._server.awake():
            before, begin, done = self._server.process.processor_seconds(), time.monotonic(), 0
            while done < wanted:
                done += self._load()
            self._rates.append(done / (time.monotonic() - begin))
            return (self._server.process.processor_seconds() - before) / done

    def _load(self) -> int:
        """Loads the server for a while; returns the number of requests."""
        url, case = self._server.url + self._case.path, self._case
        if case.size is None:
            return wrk(url, self._plan.seconds, case.connections, script=case.script).requests
        with pinned(LOAD):
            download(url, case.size)
        return 1

    @property
    def rate(self) -> float:
        """Requests per second: the median of all turns but the first, which warms up."""
        return statistics.median(self._rates[1:])


def _row(plan: Plan, case: Case, found: list[list[float]], rates: list[float]) -> Row:
    measure = f"processor time of a request: {case.measure}"
    ours, *others = ([seconds * _MICRO for seconds in values] for values in found)
    detail = f"{' / '.join(map(number, rates))} requests/s"
    if not (others and plan.against):
        return Row(case.name, measure, "-", (Measured(ours, unit="µs"),), detail)
    target = plan.target(_TARGET, is_most=True)
    row = ratio(case.name, measure, f"the same in {plan.against.name}", ours, others[0], target, "µs")
    return replace(row, detail=f"{row.detail}, {detail}")
