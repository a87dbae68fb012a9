"""The row of a request beside the same one to another revision, by processor time, because rates are too noisy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..harness.plan import Plan
from ..harness.sample import Sample
from ..harness.target import COST_TIMES
from ..report.table import Row, beside, not_measured

_TARGET = 1.05
"""The most that a request may cost, times its cost in the other revision."""
_RELEASE_TARGETS = {"asgi": 0.55, "hello": 0.65, "rust": 0.75, "outbound": 0.7}
"""The same beside release 0.1.0, by row."""
SUFFIX = "-against"


def against(
    plan: Plan,
    name: str,
    measure: str,
    ours: Sequence[Sample],
    theirs: Sequence[Sequence[Sample]],
    unit: str = "request",
) -> Iterator[Row]:
    """The row, unless there is no other revision; `theirs` is empty if that does not start with this
    configuration."""
    if not plan.against:
        return
    name, reference = f"{name}{SUFFIX}", f"the same in {plan.against.name}"
    bound = _RELEASE_TARGETS.get(name.removesuffix(SUFFIX), _TARGET) if plan.against.is_release else _TARGET
    if theirs:
        target = plan.target(bound, COST_TIMES, is_most=True)
        yield beside(name, measure, reference, ours, theirs[0], cost=target, unit=unit)
    else:
        yield not_measured(name, measure, reference, f"{plan.against.name} does not start with this configuration")
