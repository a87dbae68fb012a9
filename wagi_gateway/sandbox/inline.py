"""Watches over guests that run on the event loop's thread, from another one: none may hold the loop up for long."""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

import wasmtime

from .invocation import MOMENT, MOMENT_EPOCHS

_REST = 20
"""Looks without a guest after which the thread rests until there is one."""


class Outputs(Protocol):
    """Where a guest writes to."""

    def is_full(self) -> bool:
        """Whether the guest is blocked in a write, or would be in the next."""

    def cut(self, nothing: int) -> None:
        """Frees a guest that is blocked in a write; `nothing` is a descriptor that is at its end."""


class Watchdog:
    """Has a guest that takes its time meet an epoch, and cuts off its outputs.

    A guest that is blocked in a write to a full pipe reaches no epoch, and the loop that would read the pipe is the one
    it blocks. One that neither works nor is blocked waits for a processor, and is left alone.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._outputs: Outputs | None = None
        self._nothing = -1
        self._clock = -1
        self._turn = 0
        self._begin = 0.0
        self._has_cut = False
        self._lock = threading.Lock()
        self._is_needed = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._watchdog, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begins to watch guests on the calling thread. Raises OSError, RuntimeError."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._nothing, writer = os.pipe()
        os.close(writer)
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._nothing)
            raise

    def close(self) -> None:
        """Ends the thread. No guest is running."""
        self._is_closing.set()
        self._is_needed.set()
        self._thread.join()
        os.close(self._nothing)

    def enter(self, outputs: Outputs) -> None:
        """A guest is about to run; its outputs are cut off, from another thread, if it stays for a moment or two."""
        with self._lock:
            self._turn += 1
            self._has_cut = False
            self._outputs = outputs
        if not self._is_needed.is_set():
            self._is_needed.set()

    def leave(self) -> float | None:
        """The guest has ended. Where its output was cut off, for how many seconds it has worked."""
        with self._lock:
            self._outputs = None
            return self._worked() if self._has_cut else None

    def _worked(self) -> float:
        """Seconds of processor time that the guest has had since it was seen first."""
        return time.clock_gettime(self._clock) - self._begin

    def _watchdog(self) -> None:
        seen = rest = 0
        while not self._is_closing.wait(MOMENT):
            with self._lock:
                if self._turn != seen:
                    seen, rest = self._turn, 0
                    self._begin = time.clock_gettime(self._clock)
                    continue
                if self._outputs is not None:
                    self._look(self._outputs)
                    continue
            rest += 1
            if rest > _REST:
                self._is_needed.clear()
                if self._turn == seen and not self._is_closing.is_set():
                    self._is_needed.wait()

    def _look(self, outputs: Outputs) -> None:
        if self._has_cut or self._worked() > MOMENT / 2 or outputs.is_full():
            for _ in range(MOMENT_EPOCHS):
                self._engine.increment_epoch()
            if not self._has_cut:
                self._has_cut = True
                outputs.cut(self._nothing)


_QUICK = 0.0005
"""Seconds of processor time a quick guest takes at most. To hand it to another thread costs a tenth of that."""


_STANDSTILL = 4 * MOMENT
"""Seconds for which no guest may hold up the others; one that does so met an epoch late, after calls that take long."""


_PROOF = 8
"""Quick guests in a row that are asked for at first, and how many times more after one that was not."""


_MAX_PROOF = _PROOF**7


class InlinePolicy:
    """Trusts a module once some guests in a row were quick, asks for many more after one that was not, and forgives.

    A module that means to hold the others up is asked for two million quick guests before it may do so again.
    """

    __slots__ = ("_proof", "_streak", "is_quick")

    def __init__(self) -> None:
        self.is_quick = False
        self._proof = _PROOF
        self._streak = 0

    def note_run(self, seconds: float) -> None:
        """A guest has run on a thread for so many seconds of processor time."""
        self._streak = self._streak + 1 if seconds <= _QUICK else 0
        if self._streak >= self._proof:
            self._streak = 0
            self.is_quick = True

    def note_end(self) -> None:
        """A guest has ended on the event loop's thread in time."""
        self._streak += 1
        if self._streak >= self._proof:
            self._streak = 0
            self._proof = max(_PROOF, self._proof // _PROOF)

    def note_delay(self, seconds: float) -> None:
        """A guest has held up the others on the event loop's thread, for some seconds of processor time or blocked."""
        self._streak = 0
        self._proof = min(self._proof * (_PROOF**3 if seconds > _STANDSTILL else _PROOF), _MAX_PROOF)
        self.is_quick = False
