"""The targets of a request's cost, met or not: a table of its own, computed from the rows."""

from __future__ import annotations

from collections.abc import Sequence

from .table import Lines, Row

NAMES = (
    "asgi-against",
    "hello-against",
    "floor",
    "wasmtime",
    "node",
    "rust-against",
    "access-log",
    "metrics",
    "outbound-against",
    "workers",
    "streaming",
    "upload",
    "static",
    "latency",
    "routes",
    "concurrency",
    "fields",
)
"""The rows that have them."""
COLUMNS = ("measure", "reference", "value", "target", "met")


def targets(rows: Sequence[Row]) -> Lines:
    """A line for each quantity with a target; for a row without any, why there is none. Empty without such rows."""
    found = {row.name: row for row in rows}
    lines: list[Sequence[str]] = []
    for row in (found[name] for name in NAMES if name in found):
        for quantity in row.quantities:
            if quantity.target:
                verdict = "yes" if quantity.is_met else "no"
                lines.append((row.measure, row.reference, str(quantity), str(quantity.target), verdict))
        if not row.quantities:
            lines.append((row.measure, row.reference, f"not measured: {row.detail}", "-", "-"))
    return [COLUMNS, *lines] if lines else []
