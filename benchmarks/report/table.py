"""The table of measured values and targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..harness.sample import Sample
from ..harness.target import COST_TIMES, TIMES, Target, amount, number
from ..measures.curves import Curve


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
    costs: str = ""
    """The medians of processor time of both sides."""
    curve: Curve | None = None
    """The points of a row about growth."""

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
            ", ".join(map(str, self.quantities)) or "not measured",
            ", ".join(quantity.spread for quantity in self.quantities) or "-",
            "MISSED" if not self.is_met else "ok" if targets else "-",
            self.detail,
            self.costs,
        )


Lines = Sequence[Sequence[str]]
COLUMNS = ("measure", "reference", "target", "measured", "spread", "", "medians", "processor time")


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


def beside(
    name: str,
    measure: str,
    reference: str,
    ours: Sequence[Sample],
    theirs: Sequence[Sample],
    rate: Target | None = None,
    cost: Target | None = None,
    unit: str = "request",
) -> Row:
    """A row of two servers under the same load. The ratio is that of the rates, of processor time if that has the only
    target, or both; `unit` is what the rates and the processor time count."""
    quantities = []
    if rate or not cost:
        quantities.append(Measured([one.rate / two.rate for one, two in zip(ours, theirs, strict=True)], rate))
    if cost:
        ratios = [one.cost / two.cost for one, two in zip(ours, theirs, strict=True)]
        quantities.append(Measured(ratios, cost, COST_TIMES))
    return Row(
        name,
        measure,
        reference,
        tuple(quantities),
        rates(unit, ours, theirs),
        [sample.rate for sample in ours],
        [sample.rate for sample in theirs],
        costs(unit, ours, theirs),
    )


def alone(name: str, measure: str, samples: Sequence[Sample], unit: str = "request") -> Row:
    """A row of the processor time of one server."""
    quantity = Measured([sample.cost for sample in samples], unit=f"µs a {unit}")
    return Row(name, measure, "-", (quantity,), rates(unit, samples), costs=costs(unit, samples))


def not_measured(name: str, measure: str, reference: str, reason: str) -> Row:
    """A row that says why there is nothing to compare with."""
    return Row(name, measure, reference, (), reason)


def costs(unit: str, *sides: Sequence[Sample]) -> str:
    """The medians of the processor time of each side; a dash for one that is not known."""
    medians = [statistics.median(one.cost for one in side) for side in sides]
    return f"{' / '.join('-' if math.isnan(median) else number(median) for median in medians)} µs a {unit}"


def rates(unit: str, *sides: Sequence[Sample]) -> str:
    """The medians of the rate of each side."""
    plural = f"{unit}s" if unit.islower() else unit
    return f"{' / '.join(number(statistics.median(one.rate for one in side)) for side in sides)} {plural}/s"


def table(rows: Sequence[Row]) -> Lines:
    """All rows, below the names of the columns."""
    return [COLUMNS, *(row.cells for row in rows)]


def text(lines: Lines) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(lines: Lines) -> str:
    """A table for a page; the first line has the names of the columns."""
    columns, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rest))
