"""The gateway of this checkout, and that of the other one if there is one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .cores import SERVER
from .errors import Failed
from .plan import Plan
from .server import Server, gateway


@dataclass(frozen=True, slots=True)
class Pair:
    """Gateways with the same configuration, paused."""

    here: Server
    there: Server | None = None
    """None without another checkout, and with one that does not start with this configuration."""

    @property
    def servers(self) -> list[Server]:
        """This checkout's first."""
        return [self.here, *([self.there] if self.there else [])]


@contextlib.contextmanager
def gateways(
    plan: Plan,
    name: str,
    modules: Mapping[str, Path],
    *arguments: str,
    settings: str = "",
    cores: frozenset[int] = SERVER,
) -> Iterator[Pair]:
    """The gateways for a configuration; the arguments are those of `gateway`."""
    with ExitStack() as stack:
        directory = plan.folder(f"{name}-here")
        here = stack.enter_context(gateway(directory, modules, *arguments, settings=settings, cores=cores))
        there = None
        if plan.against:
            directory, checkout = plan.folder(f"{name}-there"), plan.against.directory
            other = gateway(directory, modules, *arguments, settings=settings, cores=cores, checkout=checkout)
            try:
                there = stack.enter_context(other)
            except Failed as failure:
                print(f"{plan.against.name}: {failure}", file=sys.stderr)
        yield Pair(here, there)
