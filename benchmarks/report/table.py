"""The table of measured values and targets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..harness.target import TIMES, Target, amount, number


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity of a row: its values, one for each turn, and its target; without a target it is for information."""

    values: Sequence[float]
    target: Target | None = None
    unit: str = TIMES

    @property
    def median(self) -> float:
        """The median of the turns, which is compared with the target."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """The least and the greatest value."""
        return f"{amount(min(self.values))} to {amount(max(self.values))}"

    @property
    def is_met(self) -> bool:
        """Whether the median meets the target; True without a target."""
        return self.target is None or self.target.is_met(self.median)

    def __str__(self) -> str:
        return amount(self.median, self.unit)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    """The name for `--only`."""
    measure: str
    reference: str
    quantities: tuple[Measured, ...]
    detail: str = ""
    """The medians of both sides of the ratio."""
    ours: Sequence[float] = ()
    theirs: Sequence[float] = ()

    @property
    def is_met(self) -> bool:
        """Whether all quantities meet their targets."""
        return all(quantity.is_met for quantity in self.quantities)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the columns."""
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
    """A row with the ratio of two measures, computed turn by turn."""
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
