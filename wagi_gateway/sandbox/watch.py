"""Watches over guests that run on the event loop's thread, from another one: none may hold the loop up for long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import wasmtime

from .invocation import MOMENT

_REST = 20
"""Looks without a guest after which the thread rests until there is one."""


class Watch:
    """Has a guest that takes its time pause, and takes its output meanwhile.

    A guest that is blocked in a write to a full pipe reaches no epoch, and the loop that would read the pipe is the one
    it blocks.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._take_output: Callable[[], bool] | None = None
        self._turn = 0
        self._is_taking = False
        self._lock = threading.Lock()
        self._is_needed = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. No guest is running."""
        self._is_closing.set()
        self._is_needed.set()
        self._thread.join()

    def enter(self, take_output: Callable[[], bool]) -> None:
        """A guest is about to run; `take_output` takes what it has printed, if anything, and is called elsewhere."""
        self._turn += 1
        self._take_output = take_output
        if not self._is_needed.is_set():
            self._is_needed.set()

    def leave(self) -> None:
        """The guest has ended or pauses; its output is left alone from now on."""
        self._take_output = None
        if self._is_taking:
            with self._lock:
                pass

    def _watch(self) -> None:
        seen = rest = 0
        while not self._is_closing.wait(MOMENT):
            if self._turn != seen:
                seen, rest = self._turn, 0
            elif self._take_output is not None:
                self._engine.increment_epoch()
                self._take_all(seen)
            elif (rest := rest + 1) > _REST:
                self._is_needed.clear()
                if self._turn == seen and not self._is_closing.is_set():
                    self._is_needed.wait()

    def _take_all(self, turn: int) -> None:
        # Said before it is looked whether the guest is still there; leave() says that it is not before it looks here.
        self._is_taking = True
        with self._lock:
            while self._turn == turn and (take_output := self._take_output) and take_output():
                self._engine.increment_epoch()  # it may print for ever, and have been too young for the first
        self._is_taking = False
