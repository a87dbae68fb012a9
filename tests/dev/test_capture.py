"""Captures: a bounded beginning, and size and digest of the whole."""

from __future__ import annotations

import hashlib

import pytest

from wagi_gateway.dev.capture import MAX_CAPTURE, Capture, CaptureBudget


@pytest.mark.parametrize("size", [0, 10, MAX_CAPTURE, MAX_CAPTURE + 1, 3 * MAX_CAPTURE])
def test_the_beginning_is_kept(size: int) -> None:
    budget = CaptureBudget(10 * MAX_CAPTURE)
    capture = Capture(budget)
    data = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    for at in range(0, size, 65536):
        capture.feed(data[at : min(at + 65536, size)])
    assert capture.content == data[: min(size, MAX_CAPTURE)]
    assert (capture.size, capture.is_cut) == (size, size > MAX_CAPTURE)
    assert capture.digest == hashlib.sha256(data[:size]).hexdigest()
    assert budget.used == capture.held == min(size, MAX_CAPTURE)
    capture.free()
    assert (budget.used, capture.content, capture.is_cut) == (0, b"", size > 0)


def test_a_stream_beyond_the_budget_is_cut_off_for_good() -> None:
    asked: list[int] = []
    budget = CaptureBudget(10, asked.append)
    capture = Capture(budget)
    for piece in (b"12345678", b"abcdefgh", b"i"):
        capture.feed(piece)
    assert (capture.content, capture.size, capture.is_cut) == (b"12345678", 17, True)
    assert asked == [6]


def test_a_capture_that_was_freed_keeps_nothing_more() -> None:
    budget = CaptureBudget(100)
    capture = Capture(budget)
    capture.free()
    capture.feed(b"late")
    assert capture.replaced() is capture
    assert (budget.used, capture.content, capture.size, capture.is_cut) == (0, b"", 4, True)
