"""Pauses between attempts: exponential, bounded, with jitter."""

from __future__ import annotations

import pytest

from wagi_gateway.sources.oci.retry import MAX_BACKOFF, RetryPolicy


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 0.5), (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (100, 8)], ids=lambda value: str(value)
)
def test_pause(attempt: int, seconds: float) -> None:
    pauses = {RetryPolicy().pause(attempt) for _ in range(100)}
    assert seconds * 0.8 <= min(pauses) <= max(pauses) <= seconds * 1.2
    assert len(pauses) > 1


def test_the_bound_is_of_any_policy() -> None:
    assert RetryPolicy(backoff=1000).pause(0) <= MAX_BACKOFF * 1.2
