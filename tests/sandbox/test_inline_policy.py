"""When a module is trusted to be quick, how it loses that, and how it gets it back."""

from __future__ import annotations

import pytest

from wagi_gateway.sandbox.inline import TIME_SLICE, InlinePolicy

QUICK, SLOW = 0.0005, 0.0006
"""Seconds of processor time of a guest on a thread."""
HELD, HELD_LONG = 2 * TIME_SLICE, 5 * TIME_SLICE
"""Seconds for which a guest held up the others."""
FIRST = 8
"""Quick guests in a row that are asked for at first."""
MOST = FIRST**7

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


def policy(*runs: float) -> InlinePolicy:
    """The policy of a module whose guests have run on threads for so many seconds."""
    one = InlinePolicy()
    for seconds in runs:
        one.count_thread_run(seconds)
    return one


def proof(one: InlinePolicy) -> int:
    """How many quick guests it takes until the module is trusted, which it is not now."""
    count = 0
    while not one.is_allowed:
        one.count_thread_run(QUICK)
        count += 1
    return count


@pytest.mark.parametrize(
    ("runs", "is_allowed"),
    [
        ([], False),
        ([QUICK] * 7, False),
        ([QUICK] * 8, True),
        ([0.0] * 8, True),
        ([SLOW] * 100, False),
        ([*[QUICK] * 7, SLOW, *[QUICK] * 7], False),
        ([*[QUICK] * 7, SLOW, *[QUICK] * 8], True),
        ([*[QUICK] * 8, SLOW], True),
    ],
    ids="new|seven|eight|no time at all|slow|one is slow|then eight|slow on a thread once trusted".split("|"),
)
def test_trust(runs: list[float], is_allowed: bool) -> None:
    assert policy(*runs).is_allowed == is_allowed


@pytest.mark.parametrize(
    ("held", "proofs"),
    [
        ([HELD], [64]),
        ([HELD] * 3, [64, 512, 4096]),
        ([HELD_LONG], [4096]),
        ([HELD_LONG, HELD], [4096, 8 * 4096]),
        ([HELD_LONG, HELD_LONG, HELD_LONG], [4096, MOST, MOST]),
    ],
    ids="once|three times|long|long and once more|long and long".split("|"),
)
def test_a_guest_that_holds_up_the_others(held: list[float], proofs: list[int]) -> None:
    one = policy(*[QUICK] * FIRST)
    asked = []
    for seconds in held:
        one.count_interruption(seconds)
        assert not one.is_allowed
        asked.append(proof(one))
    assert asked == proofs


def test_what_was_quick_before_counts_no_more() -> None:
    one = policy(*[QUICK] * (FIRST + 7))
    one.count_interruption(HELD)
    assert proof(one) == 64


@pytest.mark.parametrize(("ends", "expected"), [(511, 8 * 512), (512, 512), (512 + 64, 64), (512 + 64 + 8, 64)])
def test_guests_that_end_in_time_are_credited(ends: int, expected: int) -> None:
    one = policy(*[QUICK] * FIRST)
    for _ in range(2):
        one.count_interruption(HELD)
        proof(one)
    for _ in range(ends):
        one.count_inline_run()
    assert one.is_allowed
    one.count_interruption(HELD)
    assert proof(one) == expected
