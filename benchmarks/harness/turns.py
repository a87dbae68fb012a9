"""Measuring in turns: what else the machine does meets all sides alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def alternate(rounds: int, measures: Sequence[Callable[[], float]]) -> list[list[float]]:
    """What each measured in each turn, after a first turn that warms up and does not count.

    Every other turn goes backwards, so that none is always measured after the same one.
    """
    turns = []
    for turn in range(rounds + 1):
        order = list(range(len(measures)))
        values = dict.fromkeys(order, 0.0)
        for index in order[:: -1 if turn % 2 else 1]:
            values[index] = measures[index]()
        turns.append([values[index] for index in order])
    return [list(values) for values in zip(*turns[1:], strict=True)]
