"""Counters in memory that processes share."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from wagi_gateway.observe import shared_counters as cells_module
from wagi_gateway.observe.shared_counters import SharedCounters


def test_what_is_counted_can_be_read() -> None:
    counters = SharedCounters()
    one, two = counters.add("one"), counters.add("größer", 3)
    counters.numbers[one] += 5
    counters.numbers[two + 2] -= 1
    assert dict(counters.read()) == {"one": [5], "größer": [0, 0, -1]}
    assert counters.add("one") == one
    counters.close()


def test_counters_beyond_the_room_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "_SIZE", 8 * 70)
    counters = SharedCounters()
    counters.numbers[counters.add("a", 2)] += 1
    counters.numbers[counters.add("b", 2)] += 1
    assert dict(counters.read()) == {"a": [1, 0]}
    counters.close()


def _count(counters: SharedCounters) -> None:
    counters.numbers[counters.add("theirs")] += 7
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_leaves_what_it_has_counted() -> None:
    counters = SharedCounters()
    process = multiprocessing.get_context("spawn").Process(target=_count, args=(counters,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert dict(counters.read()) == {"theirs": [7]}
    counters.close()
    process.close()


def test_closed_counters_are_empty() -> None:
    counters = SharedCounters()
    counters.numbers[counters.add("a")] = 5
    assert (counters.get("a"), counters.get("b")) == (5, 0)
    counters.close()
    assert (counters.get("a"), list(counters.read())) == (0, [])


def test_the_descriptor_is_closed_once() -> None:
    counters = SharedCounters()
    counters.close()
    with open("/dev/null", "rb") as reused:
        counters.close()
        assert reused.read() == b""
