"""The retry policy of requests to registries."""

from __future__ import annotations

import random
from dataclasses import dataclass

MAX_BACKOFF = 8.0
"""Seconds between two attempts, unless Retry-After is longer."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries and timeouts. Times are seconds."""

    retries: int = 4
    """Repetitions of a request after a lost connection, 429 or 5xx, and of a blob after damage."""
    backoff: float = 0.5
    """The pause before the first repetition; it doubles each time, up to MAX_BACKOFF."""
    connect_time: float = 10.0
    stall_time: float = 30.0
    """The longest wait for the next byte."""
    answer_time: float = 120.0
    """The time limit of a manifest, login included."""
    transfer_time: float = 900.0
    """The time limit of a blob or a push."""

    def pause(self, attempt: int) -> float:
        """The pause after an attempt, counted from 0."""
        return min(self.backoff * 2.0**attempt, MAX_BACKOFF) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


DEFAULT_POLICY = RetryPolicy()
"""For the registry itself, without a stored copy."""
