"""The targets, met or not: a table of its own, computed from the rows."""

from __future__ import annotations

from collections.abc import Sequence

from .table import Lines, Row

COLUMNS = ("measure", "reference", "value", "target", "met")


def targets(rows: Sequence[Row]) -> Lines:
    """A line for each quantity with a target, and for a row that was not measured, why. Empty without such rows."""
    lines: list[Sequence[str]] = []
    for row in rows:
        for quantity in row.quantities:
            if quantity.target:
                verdict = "yes" if quantity.is_met else "no"
                lines.append((row.measure, row.reference, str(quantity), str(quantity.target), verdict))
        if not row.quantities:
            lines.append((row.measure, row.reference, f"not measured: {row.detail}", "-", "-"))
    return [COLUMNS, *lines] if lines else []
