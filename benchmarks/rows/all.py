"""All rows in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..harness.plan import Plan
from ..report.table import Row
from .asgi import asgi
from .curves import FIELDS, growth, header_fields
from .curves import NAMES as CURVES
from .features import NAMES as FEATURES
from .features import features
from .hello import NAMES as HELLO
from .hello import PEERS, QUICK, hello
from .latency import latency
from .memory import memory
from .outbound import outbound
from .php import php
from .precompiled import precompiled
from .programs import NAMES as PROGRAMS
from .programs import programs
from .sandbox import sandbox
from .start import start
from .static import static
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
    is_paired: bool = False
    """Whether another revision is measured in turn."""


def _alone(measure: Callable[[Plan], Iterator[Row]], *, is_quick: bool = True, is_paired: bool = False) -> Group:
    name = measure.__name__
    return Group((name,), measure, (name,) if is_quick else (), is_paired)


GROUPS = (
    Group(HELLO, hello, QUICK, is_paired=True),
    _alone(asgi, is_quick=False, is_paired=True),
    Group(FEATURES, features, ()),
    _alone(outbound, is_quick=False, is_paired=True),
    Group(("latency", "latency-bare"), latency, ("latency", "latency-bare")),
    Group(("sandbox", "sandbox-thread"), sandbox, ("sandbox", "sandbox-thread")),
    _alone(workers, is_paired=True),
    _alone(streaming, is_paired=True),
    _alone(upload, is_paired=True),
    _alone(static, is_quick=False, is_paired=True),
    *(Group((name,), growth(name), (name,) if name == "routes" else ()) for name in CURVES),
    Group(FIELDS, header_fields, ()),
    _alone(start, is_quick=False),
    Group(PROGRAMS, programs, ()),
    _alone(memory),
    _alone(precompiled, is_quick=False),
    _alone(php, is_quick=False),
    _alone(unpinned, is_quick=False, is_paired=True),
)
NAMES = tuple(name for group in GROUPS for name in group.names)
QUICK_NAMES = tuple(name for group in GROUPS for name in group.quick)
PAIRED_NAMES = tuple(name for group in GROUPS for name in group.names if group.is_paired and name not in PEERS)
LABELS = {name: peer.label for name, peer in PEERS.items()}
"""The names of the compared servers in the chart, by row."""
