"""How often and how long a registry is asked."""

from __future__ import annotations

import random
from dataclasses import dataclass

MAX_BACKOFF = 8.0
"""Seconds between two attempts, unless the registry asks for more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of a conversation with a registry. Times are seconds."""

    retries: int = 4
    """How often a request is repeated after a lost connection, 429 or 5xx, and a blob after damage."""
    backoff: float = 0.5
    """Before the first repetition; twice as long before each one after that, up to 8."""
    connect_time: float = 10.0
    stall_time: float = 30.0
    """Without a byte."""
    answer_time: float = 120.0
    """For a manifest and all it takes to get it."""
    transfer_time: float = 900.0
    """For a blob, or a push."""

    def pause(self, attempt: int) -> float:
        """What to wait after the attempt of this number, the first being 0."""
        return min(self.backoff * 2.0**attempt, MAX_BACKOFF) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


PATIENT = RetryPolicy()
"""What a registry gets when there is nothing better to do than to wait for it."""
