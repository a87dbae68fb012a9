"""Cities for faults: one with several workers, one with a clock that can be set, one for all other faults."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .city import City, city
from .fault import Fault
from .trial import Outcome, settle, trial, warm_up
from .usage import Usage


class Cities:
    """Starts each city at its first use; all end with the `stack`."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack, workers: int = 1) -> None:
        """`workers` is the number of workers for faults that need no more."""
        self._directory = directory
        self._stack = stack
        self._workers = workers
        self._running: dict[tuple[int, bool], tuple[City, Usage]] = {}

    def inflict(self, fault: Fault, calm: float) -> Outcome:
        """The outcome of a fault after `calm` seconds of load."""
        workers = max(self._workers, fault.workers)
        running, before = self._city(workers, has_clock=fault.has_clock)
        return trial(running, fault, before, calm)

    def rest(self) -> None:
        """Raises AssertionError if a city still holds resources of a fault."""
        for running, before in self._running.values():
            settle(running, before)

    def _city(self, workers: int, *, has_clock: bool) -> tuple[City, Usage]:
        key = workers, has_clock
        if key not in self._running:
            directory = self._directory / f"{workers}-{'moved' if has_clock else 'right'}"
            running = self._stack.enter_context(city(directory, workers, has_clock=has_clock))
            self._running[key] = running, warm_up(running)
        return self._running[key]
