"""The execution context of a running guest: its clock, its deadline, its stop token and its budget of host calls."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Literal

from ..compiler.component import WarmComponent
from .devices import Devices
from .invocation import Invocation, StopReason
from .memory import Memory
from .open_directories import OpenDirectories
from .piped_streams import PipedStreams
from .streams import StandardStreams
from .string_array import StringArray

_CALLS_PER_PAUSE = 64
"""Host calls of a guest between two pauses. Each call holds the GIL for one to three microseconds."""
_HOST_CALL_PAUSE = 0.0004
"""Seconds of a pause, multiplied by the number of guests on threads: all of them together leave half of the GIL to the
event loop."""
_MAX_PAUSE = 0.1
"""Seconds of the longest pause, which delays a stop."""


_wakeups = threading.RLock()
"""Guards the wake-ups of all guests, each for an instant: a lock for each guest would cost more than it spares.
Re-entrant, since a garbage collection while it is held may end another guest."""


def _nothing() -> None:
    pass


class Unwind(Exception):
    """Ends the guest: a host function that raises it does not return to the guest."""


class ExecutionContext:
    """What a guest, its host functions and the event loop share while the guest runs.

    The thread that runs the guest owns the context; `stop`, `wake` and `must_stop` may be called from any thread.
    """

    __slots__ = (
        "_devices",
        "_directories",
        "_has_waited",
        "_is_woken",
        "_wakeup",
        "arguments",
        "calls_left",
        "deadline",
        "environment",
        "exit_code",
        "invocation",
        "is_ending",
        "is_inline",
        "max_files",
        "memory",
        "missing_import",
        "on_wait",
        "running",
        "started_ns",
        "stop_reason",
        "streams",
    )

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.is_inline = False
        """Whether the guest runs on the event loop's thread, where it blocks every other request."""
        streams = PipedStreams if isinstance(invocation.module, WarmComponent) else StandardStreams
        self.streams = streams(invocation.stdin, invocation.limits.stderr, invocation.on_stderr)
        self.memory: Memory | None = None
        """The guest's memory; None before the guest is instantiated, and for a module that exports none."""
        self.arguments: StringArray | None = None
        """The argument vector, laid out as the guest reads it; None until then."""
        self.environment: StringArray | None = None
        """The environment, laid out as the guest reads it; None until then."""
        self._directories: OpenDirectories | None = None
        self._devices: Devices | Literal[False] | None = False
        self.max_files = invocation.limits.files
        """Files and directories that the guest may have open at the same time."""
        self.exit_code: int | None = None
        """The code that the guest gave to `proc_exit`."""
        self.missing_import: str | None = None
        """The cause of the trap, in the log's words, of a guest that has called a function which is missing."""
        self.is_ending = False
        """Whether the next host call ends the guest: the guest was stopped, or has to leave the event loop's thread."""
        self.on_wait: Callable[[], None] = _nothing
        """Called on the guest's thread before the guest waits for the first time."""
        self.running: Collection[object] = ()
        """The guests that run on threads at the same time."""
        self.started_ns = 0
        """Start of the guest on the monotonic clock, in nanoseconds."""
        self.deadline = math.inf
        """End of the guest's time (`limits.time`) on the monotonic clock, in seconds."""
        self.stop_reason: StopReason | None = None
        """Why the guest has to end; None while the guest may go on."""
        self.calls_left = _CALLS_PER_PAUSE
        """Host calls until the next pause."""
        self._has_waited = False
        self._is_woken = False
        self._wakeup = -1

    @property
    def directories(self) -> OpenDirectories:
        """The directories of volumes that the guest has open."""
        if self._directories is None:
            self._directories = OpenDirectories([volume.host for volume in self.invocation.volumes])
        return self._directories

    @property
    def devices(self) -> Devices | None:
        """The devices of `/dev` that the guest has open; None for a guest without them."""
        if self._devices is False:
            self._devices = Devices.create(self.invocation)
        return self._devices

    def begin(self) -> None:
        """Starts the guest's clock."""
        self.started_ns = time.monotonic_ns()
        self.deadline = self.started_ns / 1e9 + self.invocation.limits.time

    def end(self) -> None:
        """Closes what the guest has used; later calls of `wake` do nothing."""
        if self._wakeup >= 0:  # opened by this thread alone
            with _wakeups:
                os.close(self._wakeup)
                self._wakeup = -1
        if self._directories:
            self._directories.close()

    def stop(self, reason: StopReason) -> None:
        """Stops the guest at its next epoch, or at once if the guest waits. The first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.is_ending = True
        self.wake()

    def interrupt(self) -> None:
        """Ends a guest that runs inline at its next host call."""
        self.is_ending = True

    def wake(self) -> None:
        """Ends the current wait, or the next one if the guest does not wait now."""
        with _wakeups:
            self._is_woken = True
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    def must_stop(self) -> bool:
        """Whether the guest has to end; checked at each epoch."""
        if self.stop_reason is None and time.monotonic() >= self.deadline:
            self.stop_reason = "time"
            self.is_ending = True
        return self.stop_reason is not None

    def wait(self, seconds: float, descriptor: int = -1, events: int = 0) -> bool:
        """Waits on the guest's behalf until a descriptor has one of the poll(2) events, or until `wake` is called.

        The wait takes `seconds` at most, ends at the deadline, and does not begin once the guest has to end. Returns
        whether the descriptor or `wake` ended the wait. Raises Unwind for a guest that runs inline, which must not
        wait.
        """
        if self.is_inline:
            self.is_ending = True
            raise Unwind
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

    def raise_if_ending(self) -> None:
        """Raises Unwind where the guest has to end."""
        if self.is_ending:
            raise Unwind

    def count_host_calls(self, calls: int = 1) -> None:
        """Counts a part of a long call of a host function as `calls`. Raises Unwind where the guest has to end."""
        self.raise_if_ending()
        self.calls_left -= calls
        if self.calls_left <= 0:
            self.pause()

    def pause(self) -> None:
        """Pauses a guest on a thread: host calls need the GIL, which every request needs too."""
        self.calls_left = _CALLS_PER_PAUSE
        if not self.is_inline:
            time.sleep(min(_HOST_CALL_PAUSE * (len(self.running) or 1), _MAX_PAUSE))

    def _take_wake(self) -> bool:
        with _wakeups:
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
            with _wakeups:
                self._wakeup = wakeup
        return True


class _Current(threading.local):
    context: ExecutionContext | None = None


current = _Current()
"""The context of the guest that runs on this thread: host functions and the epoch callback read it."""
