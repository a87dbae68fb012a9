"""Measurements in turns, so that other load of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def alternate(rounds: int, measures: Sequence[Callable[[], T]]) -> list[list[T]]:
    """The values of each measure in `rounds` turns, after one turn that warms up and does not count.

    Every other turn is in reverse order, so that the predecessor of a measure alternates.
    """
    turns = []
    for turn in range(rounds + 1):
        step = -1 if turn % 2 else 1
        turns.append([measure() for measure in measures[::step]][::step])
    return [list(values) for values in zip(*turns[1:], strict=True)]
