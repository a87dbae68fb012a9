"""Inline execution: guests on the event loop's thread, the policy that allows it, and the watchdog that bounds it."""

from __future__ import annotations

import threading
import time

import wasmtime

from .context import ExecutionContext

TIME_SLICE = 0.005
"""Seconds a guest may run inline; CPython's switch interval, for which a thread may hold the GIL while others wait."""
TIME_SLICE_EPOCHS = 2
"""Epochs that end a guest that runs inline."""
_IDLE_TICKS = 20
"""Ticks without a guest after which the watchdog's thread sleeps until the next guest."""


class Watchdog:
    """Interrupts an inline guest that blocks the event loop: increments the epoch and ends the guest's next host call.

    A guest that uses no processor time waits for a processor, and is not interrupted.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._context: ExecutionContext | None = None
        self._clock = -1
        self._turn = 0
        self._begin = 0.0
        self._has_interrupted = False
        self._lock = threading.Lock()
        self._is_needed = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts the thread that watches guests on the calling thread. Raises OSError, RuntimeError."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. No guest may be running."""
        self._is_closing.set()
        self._is_needed.set()
        self._thread.join()

    def enter(self, context: ExecutionContext) -> None:
        """Starts the watch over a guest, which is interrupted after one or two time slices."""
        with self._lock:
            self._turn += 1
            self._has_interrupted = False
            self._context = context
        if not self._is_needed.is_set():
            self._is_needed.set()

    def leave(self) -> float | None:
        """Ends the watch. Returns the guest's processor time in seconds if the guest was interrupted, else None."""
        with self._lock:
            self._context = None
            return self._worked() if self._has_interrupted else None

    def _worked(self) -> float:
        """Seconds of processor time since the first tick at which the guest was running."""
        return time.clock_gettime(self._clock) - self._begin

    def _run(self) -> None:
        seen = idle = 0
        while not self._is_closing.wait(TIME_SLICE):
            with self._lock:
                if self._turn != seen:
                    seen, idle = self._turn, 0
                    self._begin = time.clock_gettime(self._clock)
                    continue
                if self._context is not None:
                    self._check(self._context)
                    continue
            idle += 1
            if idle > _IDLE_TICKS:
                self._is_needed.clear()
                if self._turn == seen and not self._is_closing.is_set():
                    self._is_needed.wait()

    def _check(self, context: ExecutionContext) -> None:
        if self._has_interrupted or self._worked() > TIME_SLICE / 2:
            self._has_interrupted = True
            context.interrupt()
            for _ in range(TIME_SLICE_EPOCHS):
                self._engine.increment_epoch()


_FAST = 0.0005
"""Seconds of processor time of a fast guest. Handing a guest to another thread costs a tenth of that."""
_MAX_BLOCK = 4 * TIME_SLICE
"""Seconds for which a guest may block the event loop; a guest beyond that reached an epoch check late."""
_MIN_STREAK = 8
"""Fast guests in a row before the first inline run. Each interruption multiplies the number by this factor, by its cube
after more than _MAX_BLOCK."""
_MAX_STREAK = _MIN_STREAK**7


class InlinePolicy:
    """Allows inline execution of a module after a streak of fast guests, with exponential back-off after a slow one.

    A module that blocks the event loop on purpose needs 4,096 fast guests after the first time before it may run inline
    again, and two million after the second.
    """

    __slots__ = ("_needed", "_streak", "is_allowed")

    def __init__(self) -> None:
        self.is_allowed = False
        """Whether the module's next guest may run inline."""
        self._needed = _MIN_STREAK
        self._streak = 0

    def count_thread_run(self, seconds: float) -> None:
        """Counts a run on a thread, of `seconds` of processor time."""
        self._streak = self._streak + 1 if seconds <= _FAST else 0
        if self._streak >= self._needed:
            self._streak = 0
            self.is_allowed = True

    def count_inline_run(self) -> None:
        """Counts a run that ended inline within its time slice. A whole streak divides the streak needed next time by
        _MIN_STREAK."""
        self._streak += 1
        if self._streak >= self._needed:
            self._streak = 0
            self._needed = max(_MIN_STREAK, self._needed // _MIN_STREAK)

    def count_interruption(self, seconds: float) -> None:
        """Counts a run that was interrupted inline after `seconds` of processor time."""
        self._streak = 0
        self._needed = min(self._needed * (_MIN_STREAK**3 if seconds > _MAX_BLOCK else _MIN_STREAK), _MAX_STREAK)
        self.is_allowed = False
