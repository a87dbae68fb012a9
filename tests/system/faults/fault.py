"""A fault, and whom it is allowed to affect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .city import City
from .load import Answer


@dataclass(frozen=True, slots=True)
class Affected:
    """Requests of others that a fault may cost: those under way in its time that got no answer, or one that says so."""

    since: float
    until: float
    """On the monotonic clock."""
    statuses: frozenset[int] = frozenset()
    """What they may be answered with."""

    def has(self, answer: Answer) -> bool:
        """Whether this request's failure is the fault's."""
        is_in_time = answer.began <= self.until and answer.ended >= self.since
        is_told = any(f"status {status}" in (answer.wrong or "") for status in self.statuses)
        return answer.wrong is not None and is_in_time and (answer.is_lost or is_told)


Inflict = Callable[[City], Affected | None]
"""Inflicts it, and checks what the gateway does with those who take part; returns once it is over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    name: str
    inflict: Inflict
    workers: int = 1
    """Processes that it needs at least."""
    has_clock: bool = False
    """Whether it moves the gateway's clock."""
