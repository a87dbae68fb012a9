"""Targets: bounds for the median of a measure, and how values are written."""

from __future__ import annotations

from dataclasses import dataclass

TIMES = "×"  # noqa: RUF001 - a multiplication sign is meant
COST_TIMES = f"{TIMES} processor time"
MARGIN = 0.6
"""The part of a target that the short form demands: enough for noise, too little for a regression of another order."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a median: `Target(0.4)` is at least 0.4 times the reference, `Target(40, "MiB", is_most=True)` at
    most 40 MiB."""

    bound: float
    unit: str = TIMES
    is_most: bool = False

    def widened(self) -> Target:
        """The target of the short form."""
        return Target(self.bound / MARGIN if self.is_most else self.bound * MARGIN, self.unit, self.is_most)

    def is_met(self, value: float) -> bool:
        """Whether a median is within the bound."""
        return value <= self.bound if self.is_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {amount(self.bound, self.unit)}"


def amount(value: float, unit: str = "") -> str:
    """A value with its unit; a small ratio as a fraction."""
    if unit in ("", TIMES, COST_TIMES) and 0 < value < 0.01:
        return f"1/{1 / value:,.0f}"
    return f"{number(value)} {unit}".rstrip()


def number(value: float) -> str:
    """Three significant digits, or all digits before the decimal point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
