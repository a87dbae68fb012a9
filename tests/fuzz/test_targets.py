"""The targets of scripts/fuzz with some inputs that are almost valid, and with inputs that have failed before."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target


@st.composite
def almost_right(draw: st.DrawFn, target: Target) -> bytes:
    """A seed in which a part is replaced by a word of the target's dictionary or by random bytes."""
    data = draw(st.sampled_from(target.seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 8))
        data = data[:start] + draw(st.sampled_from(target.words) | st.binary(max_size=6)) + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_a_target(name: str) -> None:
    target = TARGETS[name]

    @given(almost_right(target))
    @settings(max_examples=250, suppress_health_check=list(HealthCheck))
    def test(data: bytes) -> None:
        target.check(data)

    test()


@pytest.mark.parametrize("name", TARGETS)
def test_what_once_failed(name: str) -> None:
    for data in (*TARGETS[name].seeds, *TARGETS[name].found):
        TARGETS[name].check(data)


def test_the_shares_are_all_there_is() -> None:
    assert sum(target.share for target in TARGETS.values()) == 100
