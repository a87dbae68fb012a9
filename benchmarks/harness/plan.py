"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checkout import Checkout
from .target import TIMES, Target


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, how often and how long."""

    rounds: int
    """Turns that count, after one that warms up."""
    seconds: float
    """Duration of the load in each turn."""
    is_quick: bool
    directory: Path
    """A temporary directory for the servers' files."""
    wanted: frozenset[str]
    """Names of the rows."""
    against: Checkout | None = None
    """Another revision of this project, which the rows measure in turn with this one."""

    def folder(self, name: str) -> Path:
        """A new directory for files of a server."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        return directory

    def target(self, bound: float, unit: str = TIMES, *, is_most: bool = False) -> Target:
        """A target; in the short form with its margin."""
        target = Target(bound, unit, is_most)
        return target.widened() if self.is_quick else target
