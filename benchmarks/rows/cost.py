"""Rows: the server's processor time for a request, by the kernel's accounting, here or beside another checkout.

Processor time moves by some per cent where requests per second move by half, so that these rows mean something on a
busy machine too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..guests.wat import ECHO, ENV_C, ENVIRON_WAT, VARIABLES_RS, streams
from ..harness.cores import LOAD, pinned
from ..harness.download import download
from ..harness.load import UPLOAD, wrk
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, Server, gateway
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
            measures: list[Callable[[], float]] = [functools.partial(_measure, plan, case, one) for one in servers]
            yield _row(plan, case, alternate(plan.rounds, measures))


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


def _measure(plan: Plan, case: Case, server: Server) -> float:
    """Seconds of processor time for each request."""
    wanted = -(-case.count // plan.rounds)
    with server.awake():
        before, done = server.process.processor_seconds(), 0
        while done < wanted:
            if case.size is not None:
                with pinned(LOAD):
                    download(server.url + case.path, case.size)
                done += 1
            else:
                done += wrk(server.url + case.path, plan.seconds, case.connections, script=case.script).requests
        return (server.process.processor_seconds() - before) / done


def _row(plan: Plan, case: Case, found: list[list[float]]) -> Row:
    measure = f"processor time of a request: {case.measure}"
    ours, *others = ([seconds * _MICRO for seconds in values] for values in found)
    if not others:
        return Row(case.name, measure, "-", (Measured(ours, unit="µs"),))
    target = plan.target(_TARGET, is_most=True)
    return ratio(case.name, measure, f"the same in {plan.against}", ours, others[0], target, "µs")
