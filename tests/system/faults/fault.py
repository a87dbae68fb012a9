"""A fault, and the requests that it may affect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .city import City
from .load import Answer


@dataclass(frozen=True, slots=True)
class Affected:
    """The failures that a fault excuses: requests in progress during it, without a response or with a given status."""

    since: float
    until: float
    """On the monotonic clock."""
    statuses: frozenset[int] = frozenset()
    """Statuses that such a request may have."""

    def has(self, answer: Answer) -> bool:
        """Whether the fault excuses the failure of this request."""
        is_in_time = answer.began <= self.until and answer.ended >= self.since
        is_told = any(f"status {status}" in (answer.wrong or "") for status in self.statuses)
        return answer.wrong is not None and is_in_time and (answer.is_lost or is_told)


Inflict = Callable[[City], Affected | None]
"""Injects a fault, and checks the gateway's responses to its participants; returns when the fault is over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    name: str
    inflict: Inflict
    workers: int = 1
    """The least number of workers."""
    has_clock: bool = False
    """Whether the fault sets the gateway's wall clock."""
