"""What a guest is given, how it can be stopped, and what became of it."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Literal, NamedTuple

from ..cgi.environ import Environ
from ..compiler.compiler import WarmModule
from ..config.settings import Limits
from ..outbound.session import OutboundSession

StopReason = Literal["time", "stdout", "disconnect", "shutdown", "descriptors"]
End = Literal["exit", "trap", "stopped", "failed", "starved"]

_FREE_HOST_CALLS = 1000
_HOST_CALL_PAUSE = 0.001
"""Seconds."""
MOMENT = 0.005
"""Seconds a guest may have on the event loop's thread; what CPython lets one thread have while others wait."""
MOMENT_EPOCHS = 2
"""Epochs that end it there."""


class Outcome(NamedTuple):
    """How an invocation ended.

    `exit` with the guest's exit code, `trap` with wasmtime's message, `stopped` with the StopReason, `failed` where the
    guest could not be run at all, or `starved` where the system had not what it needs.
    """

    kind: End
    code: int = 0
    message: str = ""
    seconds: float = 0.0
    """Wall time in the sandbox."""

    @property
    def trap(self) -> str:
        """The trap's own words, without the backtrace around them."""
        return self.message.rpartition("Caused by:")[2].strip().removeprefix("wasm trap: ") or self.message

    @property
    def was_interrupted(self) -> bool:
        """Whether an epoch was the end."""
        return self.kind == "trap" and self.trap == "interrupt"


class Invocation:
    """One run of one guest. Everything but `stop` and `wake` belongs to the thread that runs it."""

    __slots__ = (
        "_has_waited",
        "_host_calls",
        "_is_woken",
        "_lock",
        "_wakeup",
        "argv",
        "deadline",
        "entrypoints",
        "environ",
        "is_on_loop",
        "limits",
        "module",
        "on_stderr",
        "on_wait",
        "outbound",
        "outputs",
        "started_ns",
        "stdin",
        "stop_reason",
        "volumes",
        "was_short_of_memory",
    )

    def __init__(
        self,
        module: WarmModule,
        entrypoint: bytes | None,
        *,
        limits: Limits,
        argv: list[bytes],
        environ: Environ,
        stdin: bytes | int = b"",
        volumes: tuple[tuple[bytes, bytes, bool], ...] = (),
        on_stderr: Callable[[bytes], None] = lambda _data: None,
        outbound: OutboundSession | None = None,
    ) -> None:
        """Without an `entrypoint` the module is instantiated and no more. `stdin` is the body itself or the descriptor
        of a file that holds it; `volumes` are (host directory, guest path, writable); `on_stderr` is called on the
        event loop with what the guest writes, as it comes; without `outbound` every call is denied."""
        self.module = module
        self.entrypoints = _entrypoints(module.is_reactor, entrypoint)
        """What is called, in order."""
        self.limits = limits
        self.argv = argv
        self.environ = environ
        self.stdin = stdin
        self.volumes = volumes
        self.on_stderr = on_stderr
        self.outbound = outbound
        self.outputs = (-1, -1)
        """Descriptors of the pipes for standard output and standard error."""
        self.on_wait: Callable[[], None] = lambda: None
        """Called on the guest's thread before it waits for the first time."""
        self.started_ns = 0
        self.deadline = 0.0
        self.stop_reason: StopReason | None = None
        self.is_on_loop = False
        """Whether the guest runs on the event loop's thread, where others wait for it."""
        self.was_short_of_memory = False
        """Whether the guest failed with more than half of `limits.memory` in use: nobody is told of a `memory.grow`
        that was refused, but most allocators double what they have."""
        self._host_calls = 0
        self._has_waited = False
        self._is_woken = False
        self._lock = threading.Lock()
        self._wakeup = -1

    def begin(self) -> None:
        """The guest's time starts."""
        self.started_ns = time.monotonic_ns()
        self.was_short_of_memory = False
        self.deadline = self.started_ns / 1e9 + self.limits.time

    def end(self) -> None:
        """The guest has ended: it is not woken any more."""
        with self._lock:
            if self._wakeup >= 0:
                os.close(self._wakeup)
                self._wakeup = -1

    def note_memory(self, size: int) -> None:
        """The guest has failed, and its memory had so many bytes."""
        self.was_short_of_memory = size > self.limits.memory // 2

    def stop(self, reason: StopReason) -> None:
        """Has the guest stopped at the next epoch, or at once if it waits. May be called from any thread."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.wake()

    def wake(self) -> None:
        """Ends a wait, the next one if there is none. May be called from any thread."""
        with self._lock:
            self._is_woken = True
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    def must_stop(self) -> bool:
        """Whether the guest has to end; asked at each epoch."""
        if self.stop_reason is None and time.monotonic() >= self.deadline:
            self.stop_reason = "time"
        return self.stop_reason is not None

    def wait(self, seconds: float, descriptor: int = -1, events: int = 0) -> bool:
        """Waits on the guest's behalf until a descriptor is ready for the events of poll(2), or until it is woken.

        Some seconds at most, never beyond its deadline, and not at all once it has to end. Whether it came to that.
        """
        if not self._has_waited:
            self._has_waited = True
            self.on_wait()
        # Made before stop_reason is looked at: stop() sets the reason before it looks for the descriptor.
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
        """Slows a guest that does nothing but call the host: such a call holds the lock every request needs."""
        self._host_calls += 1
        if self._host_calls > _FREE_HOST_CALLS:
            time.sleep(_HOST_CALL_PAUSE)

    def forgive_host_call(self) -> None:
        """The last call of the host was more than that."""
        self._host_calls -= 1

    def _take_wake(self) -> bool:
        with self._lock:
            if not self._is_woken:
                return False
            self._is_woken = False
            with suppress(BlockingIOError):  # woken before there was a descriptor
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


@lru_cache(maxsize=1024)
def _entrypoints(is_reactor: bool, entrypoint: bytes | None) -> tuple[bytes, ...]:
    if entrypoint is None:
        return ()
    return (b"_initialize", entrypoint) if is_reactor else (entrypoint,)


class _Current(threading.local):
    invocation: Invocation | None = None


current = _Current()
"""The invocation that runs on this thread: how a host function finds it."""
