"""Rows: small modules over HTTP, beside bare uvicorn, other servers with the same program, and another revision."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..guests.wat import ENV_C, ENVIRON_WAT, VARIABLES_RS
from ..harness.errors import Absent
from ..harness.pair import gateways
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, Server, bare, check_hello, floor
from ..harness.target import COST_TIMES, Target
from ..harness.turns import alternate
from ..peers.apache import apache
from ..peers.lighttpd import lighttpd
from ..peers.nginx import nginx
from ..peers.node import node
from ..peers.spin import spin
from ..peers.wagi import wagi
from ..peers.wasmtime_serve import wasmtime_serve
from ..report.table import Row, alone, beside, not_measured
from .against import against

Start = Callable[[Path], AbstractContextManager[Server]]


def _dynamic(directory: Path) -> AbstractContextManager[Server]:
    return lighttpd(directory, is_static=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that the gateway is compared with."""

    label: str
    reference: str
    start: Start
    """Starts the server with its files in the given directory."""
    bound: float | None = None
    """The least ratio of rates; None for a row without such a target."""
    cost: float | None = None
    """The greatest ratio of processor time."""
    guard: float | None = None
    """The least ratio of rates in the short form, in the place of both."""

    def targets(self, plan: Plan) -> tuple[Target | None, Target | None]:
        """The targets of rate and of processor time, if any."""
        if plan.is_quick and self.guard:
            return Target(self.guard), None
        rate = plan.target(self.bound) if self.bound else None
        return rate, plan.target(self.cost, COST_TIMES, is_most=True) if self.cost else None


FLOOR = "floor"
_FLOOR = "uvicorn making the C API calls of one guest, and nothing else"
PEERS = {
    "uvicorn": Peer("bare uvicorn, a constant", "bare uvicorn answering a constant", lambda _: bare(), 0.40),
    FLOOR: Peer("uvicorn and bare C calls", _FLOOR, lambda _: floor(), cost=1.25, guard=0.25),
    "wasmtime": Peer("wasmtime serve", "`wasmtime serve`, a handler of wasi:http in Rust", wasmtime_serve, cost=1),
    "wagi": Peer("WAGI", "WAGI, the original gateway", wagi),
    "spin": Peer("Spin, WAGI executor", "Spin with its WAGI executor", spin),
    "node": Peer("Node node:wasi", "Node `node:wasi` server", node, 3.5),
    "lighttpd": Peer("lighttpd, native CGI", "lighttpd running a native C CGI, linked statically", lighttpd, 6),
    "lighttpd-dynamic": Peer("lighttpd, native CGI, dynamic", "lighttpd running it linked dynamically", _dynamic),
    "nginx": Peer("nginx and fcgiwrap", "nginx and fcgiwrap running a native C CGI", nginx),
    "apache": Peer("Apache mod_cgid", "Apache with mod_cgid running a native C CGI", apache),
}
"""The compared servers, by row."""
QUICK = (FLOOR,)
"""The short form compares with the floor, because the target beside bare uvicorn is missed."""
MEASURE = "hello module over HTTP, 1 worker, 16 connections"
_PROGRAMS = {
    "reads-environ": (ENVIRON_WAT, "hello module that reads its environment, likewise"),
    "c": (ENV_C, "C program that prints its environment, likewise"),
    "rust": (VARIABLES_RS, "Rust program that reads its environment and prints thirty lines, likewise"),
}
NAMES = ("hello", *PEERS, *_PROGRAMS)


def hello(plan: Plan) -> Iterator[Row]:
    """Measures all servers and programs in turns."""
    programs = {name: program for name, program in _PROGRAMS.items() if name in plan.wanted}
    paths = {"hello": ROUTE, **{name: f"/{name}" for name in programs}}
    modules = {ROUTE: HELLO_WAT, **{paths[name]: module for name, (module, _) in programs.items()}}
    with ExitStack() as stack:
        peers, absent = _start_peers(plan, stack)
        pair = stack.enter_context(gateways(plan, "hello", modules))
        for server in (*peers.values(), pair.here):
            with server.awake():
                check_hello(server.url + ROUTE, server.body)
        loads = [functools.partial(server.load, plan.seconds) for server in peers.values()]
        for path in paths.values():
            loads += [functools.partial(server.load, plan.seconds, path=path) for server in pair.servers]
        found = alternate(plan.rounds, loads)
    theirs, step = dict(zip(peers, found, strict=False)), 2 if pair.there else 1
    samples = found[len(peers) :]
    ours = {name: samples[step * index : step * index + step] for index, name in enumerate(paths)}
    yield alone("hello", MEASURE, ours["hello"][0])
    yield from against(plan, "hello", MEASURE, ours["hello"][0], ours["hello"][1:])
    for name in PEERS:
        if name in theirs:
            yield beside(
                name, MEASURE, PEERS[name].reference, ours["hello"][0], theirs[name], *PEERS[name].targets(plan)
            )
        elif name in absent:
            yield not_measured(name, MEASURE, PEERS[name].reference, absent[name])
    if {"uvicorn", FLOOR} <= theirs.keys():
        yield beside("floor-uvicorn", _FLOOR, PEERS["uvicorn"].reference, theirs[FLOOR], theirs["uvicorn"])
    for name, (_, measure) in programs.items():
        yield beside(name, measure, "hello module", ours[name][0], ours["hello"][0])
        yield from against(plan, name, measure, ours[name][0], ours[name][1:])


def _start_peers(plan: Plan, stack: ExitStack) -> tuple[dict[str, Server], dict[str, str]]:
    """The servers that run, and the reasons of those that are not installed; by row."""
    servers, absent = {}, {}
    for name in [name for name in PEERS if name in plan.wanted]:
        directory = plan.folder(f"peer-{name}")
        directory.chmod(0o711)
        try:
            servers[name] = stack.enter_context(PEERS[name].start(directory))
        except Absent as reason:
            absent[name] = str(reason)
    return servers, absent
