"""The table of outcomes."""

from __future__ import annotations

from collections.abc import Iterable

from .trial import Outcome

HEADINGS = ("fault", "seconds", "requests", "failed", "affected", "p99 before → during", "fds", "RSS in MiB", "verdict")


def table(outcomes: Iterable[Outcome]) -> str:
    """The table in Markdown, with aligned columns."""
    rows = [HEADINGS, *map(_cells, outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    before, after = outcome.before, outcome.after
    return (
        outcome.fault,
        f"{outcome.seconds:.1f}",
        f"{outcome.requests:,}",
        f"{outcome.failed}",
        f"{outcome.affected}",
        f"{outcome.calm * 1000:.0f} → {outcome.stressed * 1000:.0f} ms",
        f"{before.descriptors} → {after.descriptors}",
        f"{before.memory >> 20} → {after.memory >> 20}",
        "FAILED" if outcome.problems else "ok",
    )
