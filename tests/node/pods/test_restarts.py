"""The back-off and the restart policy."""

from __future__ import annotations

import pytest

from wagi_gateway.node.pods.restarts import BackOff, Restarts


def test_a_back_off_doubles_to_five_minutes_and_begins_anew() -> None:
    back_off = BackOff()
    assert [back_off.fail() for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    back_off.reset()
    assert back_off.fail() == 10


def test_the_first_restart_is_immediate_and_a_good_run_resets_the_delay() -> None:
    restarts = Restarts()
    assert [restarts.next_delay(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [restarts.next_delay(600), restarts.next_delay(599)] == [0, 10]


@pytest.mark.parametrize(
    ("policy", "code", "is_wanted"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy(policy: str, code: int, is_wanted: bool) -> None:
    assert Restarts(policy).is_wanted(code) is is_wanted
