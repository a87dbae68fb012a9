"""The execution context of a running guest: its clock, its deadline, its stop token and its budget of host calls."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from .invocation import Invocation, StopReason

_FREE_HOST_CALLS = 1000
"""Host calls of a guest that cost the guest no pause."""
_HOST_CALL_PAUSE = 0.001
"""Seconds a guest sleeps at each further host call."""


def _nothing() -> None:
    pass


class ExecutionContext:
    """What a guest, its host functions and the event loop share while the guest runs.

    The thread that runs the guest owns the context; `stop`, `wake` and `must_stop` may be called from any thread.
    """

    __slots__ = (
        "_has_waited",
        "_host_calls",
        "_is_woken",
        "_lock",
        "_wakeup",
        "deadline",
        "invocation",
        "is_inline",
        "on_wait",
        "outputs",
        "started_ns",
        "stop_reason",
    )

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.is_inline = False
        """Whether the guest runs on the event loop's thread, where it blocks every other request."""
        self.outputs = (-1, -1)
        """Descriptors of the pipes for standard output and standard error."""
        self.on_wait: Callable[[], None] = _nothing
        """Called on the guest's thread before the guest waits for the first time."""
        self.started_ns = 0
        """Start of the guest on the monotonic clock, in nanoseconds."""
        self.deadline = 0.0
        """End of the guest's time (`limits.time`) on the monotonic clock, in seconds."""
        self.stop_reason: StopReason | None = None
        """Why the guest has to end; None while the guest may go on."""
        self._host_calls = 0
        self._has_waited = False
        self._is_woken = False
        self._lock = threading.Lock()
        self._wakeup = -1

    def begin(self) -> None:
        """Starts the guest's clock."""
        self.started_ns = time.monotonic_ns()
        self.deadline = self.started_ns / 1e9 + self.invocation.limits.time

    def end(self) -> None:
        """Closes the wake-up descriptor; later calls of `wake` do nothing."""
        with self._lock:
            if self._wakeup >= 0:
                os.close(self._wakeup)
                self._wakeup = -1

    def stop(self, reason: StopReason) -> None:
        """Stops the guest at its next epoch, or at once if the guest waits. The first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.wake()

    def wake(self) -> None:
        """Ends the current wait, or the next one if the guest does not wait now."""
        with self._lock:
            self._is_woken = True
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    def must_stop(self) -> bool:
        """Whether the guest has to end; checked at each epoch."""
        if self.stop_reason is None and time.monotonic() >= self.deadline:
            self.stop_reason = "time"
        return self.stop_reason is not None

    def wait(self, seconds: float, descriptor: int = -1, events: int = 0) -> bool:
        """Waits on the guest's behalf until a descriptor has one of the poll(2) events, or until `wake` is called.

        The wait takes `seconds` at most, ends at the deadline, and does not begin once the guest has to end. Returns
        whether the descriptor or `wake` ended the wait.
        """
        if not self._has_waited:
            self._has_waited = True
            self.on_wait()
        # Opened before stop_reason is read: stop() sets the reason before it reads the descriptor.
        if not self._open_wakeup() or self.must_stop():
            return False
        if self._take_wake():
            return True
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, events)
        seconds = max(0.0, min(seconds, self.deadline - time.monotonic()))
        ready = poll.poll(math.ceil(seconds * 1000))
        self._take_wake()
        return not self.must_stop() and bool(ready)

    def count_host_call(self) -> None:
        """Counts a call of a host function, and slows a guest that makes too many: each call holds the GIL, which every
        request needs."""
        self._host_calls += 1
        if self._host_calls > _FREE_HOST_CALLS:
            time.sleep(_HOST_CALL_PAUSE)

    def refund_host_call(self) -> None:
        """Takes the last host call off the count: a call that moved data is not counted against the budget."""
        self._host_calls -= 1

    def _take_wake(self) -> bool:
        with self._lock:
            if not self._is_woken:
                return False
            self._is_woken = False
            with suppress(BlockingIOError):  # woken before the descriptor was opened
                os.eventfd_read(self._wakeup)
            return True

    def _open_wakeup(self) -> bool:
        if self._wakeup < 0:
            try:
                wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except OSError:
                self.stop("descriptors")
                return False
            with self._lock:
                self._wakeup = wakeup
        return True


class _Current(threading.local):
    context: ExecutionContext | None = None


current = _Current()
"""The context of the guest that runs on this thread: host functions and the epoch callback read it."""
