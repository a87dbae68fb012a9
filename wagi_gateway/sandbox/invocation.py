"""What a guest is given, how it can be stopped, and what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..cgi.environ import Environ
from ..compiler import WarmModule
from ..config import Limits

StopReason = Literal["time", "stdout", "disconnect", "shutdown", "descriptors"]
End = Literal["exit", "trap", "stopped", "failed", "starved"]

_FREE_HOST_CALLS = 1000
_HOST_CALL_PAUSE = 0.001
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
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


class Invocation:
    """One run of one guest. Everything but `stop` belongs to the thread that runs it."""

    __slots__ = (
        "_host_calls",
        "_wakeup",
        "argv",
        "deadline",
        "entrypoint",
        "environ",
        "limits",
        "module",
        "on_stderr",
        "started_ns",
        "stdin",
        "stop_reason",
        "volumes",
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
    ) -> None:
        """Without an `entrypoint` the module is instantiated and no more. `stdin` is the body itself or the descriptor
        of a file that holds it; `volumes` are (host directory, guest path, writable); `on_stderr` is called on the
        event loop with what the guest writes, as it comes."""
        self.module = module
        self.entrypoint = entrypoint
        self.limits = limits
        self.argv = argv
        self.environ = environ
        self.stdin = stdin
        self.volumes = volumes
        self.on_stderr = on_stderr
        self.started_ns = 0
        self.deadline = 0.0
        self.stop_reason: StopReason | None = None
        self._wakeup: threading.Event | None = None
        self._host_calls = 0

    def begin(self) -> None:
        """The guest's time starts."""
        self.started_ns = time.monotonic_ns()
        self.deadline = self.started_ns / 1e9 + self.limits.time

    def stop(self, reason: StopReason) -> None:
        """Has the guest stopped at the next epoch, or at once if it sleeps. May be called from any thread."""
        if self.stop_reason is None:
            self.stop_reason = reason
        if self._wakeup is not None:
            self._wakeup.set()

    def must_stop(self) -> bool:
        """Whether the guest has to end; asked at each epoch."""
        if self.stop_reason is None and time.monotonic() >= self.deadline:
            self.stop_reason = "time"
        return self.stop_reason is not None

    def sleep(self, seconds: float) -> None:
        """Sleeps on the guest's behalf: never beyond its deadline, and not at all once it has to end."""
        # Made before stop_reason is looked at: stop() sets the reason before it looks for the event.
        self._wakeup = self._wakeup or threading.Event()
        if not self.must_stop():
            self._wakeup.wait(max(0.0, min(seconds, self.deadline - time.monotonic())))
            self.must_stop()

    def count_host_call(self) -> None:
        """Slows a guest that does nothing but call the host: such a call holds the lock every request needs."""
        self._host_calls += 1
        if self._host_calls > _FREE_HOST_CALLS:
            time.sleep(_HOST_CALL_PAUSE)


class _Current(threading.local):
    invocation: Invocation | None = None


current = _Current()
"""The invocation that runs on this thread: how a host function finds it."""
