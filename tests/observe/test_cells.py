"""Numbers that another process can see."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from wagi_gateway.observe import shared_counters as cells_module
from wagi_gateway.observe.shared_counters import Cells


def test_what_is_counted_can_be_read() -> None:
    cells = Cells()
    one, two = cells.add("one"), cells.add("größer", 3)
    cells.numbers[one] += 5
    cells.numbers[two + 2] -= 1
    assert dict(cells.read()) == {"one": [5], "größer": [0, 0, -1]}
    assert cells.add("one") == one
    cells.close()


def test_without_room_it_counts_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "_SIZE", 8 * 70)
    cells = Cells()
    cells.numbers[cells.add("a", 2)] += 1
    cells.numbers[cells.add("b", 2)] += 1
    assert dict(cells.read()) == {"a": [1, 0]}
    cells.close()


def _count(cells: Cells) -> None:
    cells.numbers[cells.add("theirs")] += 7
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_leaves_what_it_has_counted() -> None:
    cells = Cells()
    process = multiprocessing.get_context("spawn").Process(target=_count, args=(cells,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert dict(cells.read()) == {"theirs": [7]}
    cells.close()
    process.close()


def test_who_reads_what_is_closed_finds_nothing() -> None:
    cells = Cells()
    cells.numbers[cells.add("a")] = 5
    assert (cells.get("a"), cells.get("b")) == (5, 0)
    cells.close()
    assert (cells.get("a"), list(cells.read())) == (0, [])
