"""Watches over guests that run on the event loop's thread, from another one: none may hold the loop up for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import wasmtime

from .invocation import MOMENT, MOMENT_EPOCHS

_REST = 20
"""Looks without a guest after which the thread rests until there is one."""


class Watch:
    """Has a guest that takes its time meet an epoch, and cuts off its output.

    A guest that is blocked in a write to a full pipe reaches no epoch, and the loop that would read the pipe is the one
    it blocks.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._cut: Callable[[int], None] | None = None
        self._nothing = -1
        self._turn = 0
        self._has_cut = False
        self._lock = threading.Lock()
        self._is_needed = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to watch. Raises OSError."""
        self._nothing, writer = os.pipe()
        os.close(writer)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. No guest is running."""
        self._is_closing.set()
        self._is_needed.set()
        self._thread.join()
        os.close(self._nothing)

    def enter(self, cut: Callable[[int], None]) -> None:
        """A guest is about to run; `cut` is called, on another thread and with a descriptor that holds nothing, if it
        has not left in a moment or two."""
        with self._lock:
            self._turn += 1
            self._has_cut = False
            self._cut = cut
        if not self._is_needed.is_set():
            self._is_needed.set()

    def leave(self) -> bool:
        """The guest has ended. Whether its output was cut off."""
        with self._lock:
            self._cut = None
            return self._has_cut

    def _watch(self) -> None:
        seen = rest = 0
        while not self._is_closing.wait(MOMENT):
            if self._turn != seen:
                seen, rest = self._turn, 0
            elif self._cut is not None:
                self._cut_off(seen)
            elif (rest := rest + 1) > _REST:
                self._is_needed.clear()
                if self._turn == seen and not self._is_closing.is_set():
                    self._is_needed.wait()

    def _cut_off(self, turn: int) -> None:
        for _ in range(MOMENT_EPOCHS):
            self._engine.increment_epoch()
        with self._lock:
            if self._turn == turn and self._cut is not None and not self._has_cut:
                self._has_cut = True
                self._cut(self._nothing)
