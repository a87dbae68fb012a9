"""Measurements in turns, so that other load of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def alternate(rounds: int, measures: Sequence[Callable[[], float]]) -> list[list[float]]:
    """The values of each measure in `rounds` turns, after one turn that warms up and does not count.

    Every other turn is in reverse order, so that the predecessor of a measure alternates.
    """
    turns = []
    for turn in range(rounds + 1):
        order = list(range(len(measures)))
        values = dict.fromkeys(order, 0.0)
        for index in order[:: -1 if turn % 2 else 1]:
            values[index] = measures[index]()
        turns.append([values[index] for index in order])
    return [list(values) for values in zip(*turns[1:], strict=True)]
