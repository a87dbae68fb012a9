"""The verdict on answers."""

from __future__ import annotations

from .fault import Affected
from .load import Answer
from .trial import judge

KILLED = Affected(10.0, 11.0, frozenset({502}))
RIGHT = Answer("httpx", 10.5, 10.6)
LOST = Answer("wrk", 0.0, 20.0, "no answer", is_lost=True)
"""A result of wrk, which has no times."""


def test_a_fault_excuses_what_was_under_way() -> None:
    bad_gateway = Answer("h2load", 9.9, 10.1, "status 502")
    assert judge([RIGHT, bad_gateway, *4 * [LOST]], KILLED) == ([bad_gateway, *4 * [LOST]], [])


def test_a_client_cannot_lose_more_than_it_had_under_way() -> None:
    assert judge(5 * [LOST], KILLED) == (4 * [LOST], [LOST])


def test_what_was_not_under_way_or_wrongly_answered_is_not_excused() -> None:
    before, wrong = Answer("curl", 1.0, 2.0, "refused", is_lost=True), Answer("httpx", 10.1, 10.2, "status 500")
    assert judge([RIGHT, before, wrong], KILLED) == ([], [before, wrong])


def test_a_fault_that_may_cost_nothing_excuses_nothing() -> None:
    assert judge([RIGHT, LOST], None) == ([], [LOST])
