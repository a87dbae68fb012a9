"""Rows: the hello module over HTTP, beside bare uvicorn and beside other servers with the same program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..guests.wat import ENVIRON_WAT
from ..harness.plan import Plan
from ..harness.server import HELLO_WAT, ROUTE, Server, bare, check_hello, floor, gateway
from ..harness.target import Target
from ..harness.turns import alternate
from ..peers.apache import apache
from ..peers.lighttpd import lighttpd
from ..peers.nginx import nginx
from ..peers.node import node
from ..report.table import Row, ratio

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
    """The least ratio; None for a row without target."""
    guard: float | None = None
    """The least ratio in the short form of a row without target, far below the measured ratio."""

    def target(self, plan: Plan) -> Target | None:
        """The target of the ratio, if any."""
        if self.bound:
            return plan.target(self.bound)
        return Target(self.guard) if plan.is_quick and self.guard else None


FLOOR = "floor"
_FLOOR = "uvicorn making the C API calls of one guest, and nothing else"
PEERS = {
    "uvicorn": Peer("bare uvicorn, a constant", "bare uvicorn answering a constant", lambda _: bare(), 0.40),
    FLOOR: Peer("uvicorn and bare C calls", _FLOOR, lambda _: floor(), guard=0.25),
    "node": Peer("Node node:wasi", "Node `node:wasi` server", node, 3.5),
    "lighttpd": Peer("lighttpd, native CGI", "lighttpd running a native C CGI, linked statically", lighttpd, 6),
    "lighttpd-dynamic": Peer("lighttpd, native CGI, dynamic", "lighttpd running it linked dynamically", _dynamic),
    "nginx": Peer("nginx and fcgiwrap", "nginx and fcgiwrap running a native C CGI", nginx),
    "apache": Peer("Apache mod_cgid", "Apache with mod_cgid running a native C CGI", apache),
}
"""The compared servers, by row."""
QUICK = (FLOOR,)
"""The short form compares with the floor, because the target beside bare uvicorn is missed."""
READS = "reads-environ"
_READS = "/reads"
MEASURE = "hello module over HTTP, 1 worker, 16 connections"


def hello(plan: Plan) -> Iterator[Row]:
    """Measures all servers in turns."""
    names = [name for name in PEERS if name in plan.wanted]
    with ExitStack() as stack:
        servers = []
        for name in names:
            directory = plan.directory / name
            directory.mkdir(mode=0o711)
            servers.append(stack.enter_context(PEERS[name].start(directory)))
        directory = plan.directory / "hello"
        directory.mkdir()
        server = stack.enter_context(gateway(directory, {ROUTE: HELLO_WAT, _READS: ENVIRON_WAT}))
        measures = [_measure(server, plan) for server in (*servers, server)]
        if READS in plan.wanted:
            measures.append(lambda: server.rate(plan.seconds, path=_READS))
        rates = alternate(plan.rounds, measures)
        theirs, ours = rates[: len(names)], rates[len(names)]
    for name, values in zip(names, theirs, strict=True):
        peer = PEERS[name]
        yield ratio(name, MEASURE, peer.reference, ours, values, peer.target(plan))

    if {"uvicorn", FLOOR} <= plan.wanted:
        of = dict(zip(names, theirs, strict=True))
        yield ratio("floor-uvicorn", _FLOOR, PEERS["uvicorn"].reference, of[FLOOR], of["uvicorn"])
    if READS in plan.wanted:
        yield ratio(READS, "hello module that reads its environment, likewise", "hello module", rates[-1], ours)


def _measure(server: Server, plan: Plan) -> Callable[[], float]:
    with server.awake():
        check_hello(server.url + ROUTE)
    return lambda: server.rate(plan.seconds)
