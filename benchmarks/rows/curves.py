"""Rows: how the processor time of a request grows with one quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..harness.plan import Plan
from ..harness.target import number
from ..measures.curves import UNIT, Curve, concurrency, fields, module, response, routes, variables
from ..report.table import Measured, Row

FIELDS = ("fields", "fields-read", "fields-bare")
NAMES = ("routes", "concurrency", "variables", "response", "module")
_CURVES = dict(zip(NAMES, (routes, concurrency, variables, response, module), strict=True))
_FLAT = 1.1
"""The greatest growth of a curve that is to be flat."""
_FIELD = 0.15
"""Microseconds for a header field that the guest does not read."""


def growth(name: str) -> Callable[[Plan], Iterator[Row]]:
    """A measure of the row of one curve: its highest point beside its lowest one."""

    def measure(plan: Plan) -> Iterator[Row]:
        curve = _CURVES[name](plan)
        is_flat = name in ("routes", "concurrency")
        target = plan.target(_FLAT, is_most=True) if is_flat else None
        yield _row(curve, Measured(curve.growth, target), "the lowest point")

    return measure


def header_fields(plan: Plan) -> Iterator[Row]:
    """Measures what a header field adds: least squares over all points, in each turn."""
    for curve in fields(plan):
        target = plan.target(_FIELD, "µs a field", is_most=True) if curve.name == "fields" else None
        yield _row(curve, Measured(curve.slopes, target, "µs a field"), "-")


def _row(curve: Curve, quantity: Measured, reference: str) -> Row:
    (first, begin), *_, (last, end) = curve.medians
    measure = f"{curve.title}, {first:,.0f} to {last:,.0f}: processor time of a request"
    costs = f"{number(end)} / {number(begin)} {UNIT} a request"
    return Row(curve.name, measure, reference, (quantity,), costs=costs, curve=curve)
