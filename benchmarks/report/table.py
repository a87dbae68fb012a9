"""The table: measured values beside their targets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

TIMES = "×"  # noqa: RUF001 - a multiplication sign is meant
MARGIN = 0.6
"""What the short form leaves of a target: a regression of kind misses that too, and noise does not."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a median: `Target(0.4)` is at least 0.4 times the reference, `Target(40, "MiB", is_most=True)` at
    most 40 MiB."""

    bound: float
    unit: str = TIMES
    is_most: bool = False

    def widened(self) -> Target:
        """The bound of the short form."""
        return Target(self.bound / MARGIN if self.is_most else self.bound * MARGIN, self.unit, self.is_most)

    def is_met(self, value: float) -> bool:
        """Whether a median is good enough."""
        return value <= self.bound if self.is_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {_amount(self.bound, self.unit)}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity of a row: its value in each turn, and what it should be; without a target it is for information."""

    values: Sequence[float]
    target: Target | None = None
    unit: str = TIMES

    @property
    def median(self) -> float:
        """What counts."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """From the least to the greatest."""
        return f"{_amount(min(self.values))} to {_amount(max(self.values))}"

    @property
    def is_met(self) -> bool:
        """Whether the target is met, if there is one."""
        return self.target is None or self.target.is_met(self.median)

    def __str__(self) -> str:
        return _amount(self.median, self.unit)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    """What `--only` calls it."""
    measure: str
    reference: str
    quantities: tuple[Measured, ...]
    detail: str = ""
    """The medians that the ratio is made of."""
    ours: Sequence[float] = ()
    theirs: Sequence[float] = ()

    @property
    def is_met(self) -> bool:
        """Whether all its targets are met."""
        return all(quantity.is_met for quantity in self.quantities)

    @property
    def cells(self) -> tuple[str, ...]:
        """What the columns say."""
        targets = [str(quantity.target) for quantity in self.quantities if quantity.target]
        return (
            self.measure,
            self.reference,
            ", ".join(targets) or "-",
            ", ".join(map(str, self.quantities)),
            ", ".join(quantity.spread for quantity in self.quantities),
            "MISSED" if not self.is_met else "ok" if targets else "-",
            self.detail,
        )


COLUMNS = ("measure", "reference", "target", "measured", "spread", "", "medians")


def ratio(
    name: str,
    measure: str,
    reference: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    target: Target | None = None,
    unit: str = "requests/s",
) -> Row:
    """A row about what was measured in turns; the ratio is that of each turn."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    detail = f"{number(statistics.median(ours))} / {number(statistics.median(theirs))} {unit}"
    return Row(name, measure, reference, (Measured(ratios, target),), detail, ours, theirs)


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _amount(value: float, unit: str = "") -> str:
    """A value with its unit; a small ratio as a fraction."""
    if unit in ("", TIMES) and 0 < value < 0.01:
        return f"1/{1 / value:,.0f}"
    return f"{number(value)} {unit}".rstrip()


def number(value: float) -> str:
    """Three digits that count, or all of them before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
