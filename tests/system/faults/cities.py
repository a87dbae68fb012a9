"""Cities for faults: one for those that need several processes, one whose clock can be moved, one for the others."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .city import City, city
from .fault import Fault
from .trial import Outcome, settle, trial, warm_up
from .usage import Usage


class Cities:
    """Starts each when it is needed first; all of them end with the `stack`."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack, workers: int = 1) -> None:
        """`workers` is how many processes serve where a fault does not need more."""
        self._directory = directory
        self._stack = stack
        self._workers = workers
        self._running: dict[tuple[int, bool], tuple[City, Usage]] = {}

    def inflict(self, fault: Fault, calm: float) -> Outcome:
        """What comes of a fault after `calm` seconds of load."""
        workers = max(self._workers, fault.workers)
        running, before = self._city(workers, has_clock=fault.has_clock)
        return trial(running, fault, before, calm)

    def rest(self) -> None:
        """Everything that faults needed is given back. Raises AssertionError."""
        for running, before in self._running.values():
            settle(running, before)

    def _city(self, workers: int, *, has_clock: bool) -> tuple[City, Usage]:
        key = workers, has_clock
        if key not in self._running:
            directory = self._directory / f"{workers}-{'moved' if has_clock else 'right'}"
            running = self._stack.enter_context(city(directory, workers, has_clock=has_clock))
            self._running[key] = running, warm_up(running)
        return self._running[key]
