"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..report.table import TIMES, Target


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of one run."""

    rounds: int
    """Turns that count; one more before them warms up."""
    seconds: float
    """How long a load lasts in each turn."""
    is_quick: bool
    directory: Path
    """Where servers have their files; removed at the end."""
    wanted: frozenset[str]
    """Names of the rows."""

    def target(self, bound: float, unit: str = TIMES, *, is_most: bool = False) -> Target:
        """A target, in the short form with its margin."""
        target = Target(bound, unit, is_most)
        return target.widened() if self.is_quick else target
