"""All rows in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..harness.plan import Plan
from ..report.table import Row
from .cost import NAMES as COSTS
from .cost import cost
from .hello import PEERS, QUICK, READS, hello
from .latency import latency
from .memory import memory
from .php import php
from .precompiled import precompiled
from .programs import NAMES as PROGRAMS
from .programs import programs
from .routes import routes
from .sandbox import sandbox
from .start import start
from .streaming import streaming
from .unpinned import unpinned
from .upload import upload
from .workers import workers


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that one function measures."""

    names: tuple[str, ...]
    measure: Callable[[Plan], Iterator[Row]]
    quick: tuple[str, ...]
    """The rows of the short form, which need no programs beyond those of the tests."""


def _alone(measure: Callable[[Plan], Iterator[Row]], *, is_quick: bool = True) -> Group:
    name = measure.__name__
    return Group((name,), measure, (name,) if is_quick else ())


GROUPS = (
    Group((*PEERS, READS), hello, QUICK),
    Group(("latency", "latency-bare"), latency, ("latency", "latency-bare")),
    Group(("sandbox", "sandbox-thread"), sandbox, ("sandbox", "sandbox-thread")),
    Group(COSTS, cost, ()),
    _alone(workers),
    _alone(routes),
    _alone(streaming),
    _alone(upload),
    _alone(start, is_quick=False),
    Group(PROGRAMS, programs, ()),
    _alone(memory),
    _alone(precompiled, is_quick=False),
    _alone(php, is_quick=False),
    _alone(unpinned, is_quick=False),
)
NAMES = tuple(name for group in GROUPS for name in group.names)
QUICK_NAMES = tuple(name for group in GROUPS for name in group.quick)
LABELS = {name: peer.label for name, peer in PEERS.items()}
"""The names of the compared servers in the chart, by row."""
