"""A running guest as the event loop sees it: its output as it comes, its end, and the means to end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from . import backtrace
from .context import ExecutionContext
from .invocation import Invocation, Outcome, StopReason

GRACE = 0.005
"""Seconds after which a guest's output is read while the guest runs. Most guests end earlier: one read is enough."""
_MANY_BYTES = 16 * 2**20
"""Least `limits.memory` that is shown in MiB."""
Executor = Literal["inline", "restarted", "thread"]
_STOPPED: dict[StopReason, str] = {
    "time": "the guest ran into limits.time ({limits.time:g} s)",
    "stdout": "the guest printed more than limits.stdout ({limits.stdout} bytes)",
    "disconnect": "the client went away",
    "shutdown": "the server is stopping",
    "descriptors": "the server ran out of descriptors, and the guest may open files or connections",
    "temporary": "the guest's temporary files were larger than limits.temporary ({limits.temporary} bytes)",
}


def _nothing(*_: object) -> None:
    pass


def _describe_memory(used: int, limit: int) -> str:
    """The memory in use at the guest's end; nothing if the guest can hardly have met its limit.

    An allocator that doubles its memory is refused with a third of the limit in use.
    """
    if used < limit // 4:
        return ""
    unit, shift = ("MiB", 20) if limit >= _MANY_BYTES else ("KiB", 10)
    return f"{used >> shift} of {limit >> shift} {unit} of memory were in use (limits.memory)"


class Guest:
    """One guest from its start to its end. Belongs to the event loop."""

    __slots__ = (
        "_is_broken",
        "_is_drained",
        "_is_streaming",
        "_loop",
        "_on_end",
        "_on_slow",
        "_timer",
        "_waiter",
        "context",
        "executor",
        "invocation",
        "is_logged",
        "outcome",
        "started",
        "stdout_size",
    )

    def __init__(
        self,
        invocation: Invocation,
        loop: asyncio.AbstractEventLoop,
        on_slow: Callable[[], None],
        on_end: Callable[[Guest], None],
    ) -> None:
        """`on_slow` is called if the guest does not end at once, `on_end` when the guest has ended."""
        self.invocation = invocation
        self.context = ExecutionContext(invocation)
        self.outcome: Outcome | None = None
        """How the guest ended; None while the guest runs."""
        self.executor: Executor = "thread"
        """What ran the guest: the event loop's thread (`inline`), first that and then a thread of the pool
        (`restarted`), or a thread of the pool alone."""
        self.is_logged = False
        """Whether the guest has ended, and all of its standard error is logged."""
        self.stdout_size = 0
        """Bytes of standard output that were read."""
        self.started = 0.0
        """Start of a guest on a thread, on the event loop's clock in seconds."""
        self._loop = loop
        self._on_slow = on_slow
        self._on_end = on_end
        self._is_streaming = False
        self._is_drained = False
        self._is_broken = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the gateway ended the guest; None for a guest that ended by itself."""
        return self.context.stop_reason

    @property
    def stderr_dropped(self) -> int:
        """Bytes of standard error beyond `limits.stderr`."""
        return self.context.streams.stderr_dropped

    @property
    def is_complete(self) -> bool:
        """Whether the guest has ended by itself or closed its standard output, and all of that was read."""
        return self._is_drained and self.context.stop_reason is None

    @property
    def has_closed_stdout(self) -> bool:
        """Whether the guest has closed its standard output."""
        return self.context.streams.is_stdout_closed

    def failure(self) -> str | None:
        """Returns what went wrong, in the words of a log line; None for a guest that ended with exit code 0."""
        if reason := self.stop_reason:
            return _STOPPED[reason].format(limits=self.invocation.limits)
        if self.outcome is None or (self.outcome.kind == "exit" and not self.outcome.code):
            return None
        if self.outcome.kind == "exit":
            return f"the guest exited with code {self.outcome.code}"
        return f"{self.outcome.kind}: {self.outcome.message}"

    def circumstances(self) -> str:
        """Returns what the log adds to the failure of a guest that has ended: the functions in which a trap or
        `limits.time` ended the guest, and its memory if much of `limits.memory` was in use."""
        if self.outcome is None or self.stop_reason not in (None, "time"):
            return ""
        where = backtrace.describe(self.outcome.frames)
        memory = _describe_memory(self.outcome.memory, self.invocation.limits.memory)
        return "".join(f"; {text}" for text in (where, memory) if text)

    async def read(self) -> bytes:
        """Returns the next piece of standard output; empty at its end."""
        while not self._is_drained:
            streams = self.context.streams
            is_last = self.outcome is not None or streams.is_stdout_closed
            if self._is_broken:
                return b""
            if is_last or self._is_streaming:
                data = streams.take_stdout()
                self._is_drained = is_last and not streams.stdout_held
                if data:
                    return self._count(data)
            if not is_last:
                await self._change()
        return b""

    def stop(self, reason: StopReason) -> None:
        """Ends the guest, whether it computes, sleeps or is blocked in a write. Does nothing once it has ended."""
        if self.outcome is None:
            self.context.stop(reason)
            self._break()

    def release(self) -> None:
        """Ends the reading of standard output: stops a guest that still runs, unless the guest has closed standard
        output itself and goes on without a client. `on_slow` is not called any more."""
        self._on_slow = _nothing
        if self.outcome is None and not (self._is_drained and self.context.streams.is_stdout_closed):
            self.stop("disconnect")

    def restart(self) -> None:
        """Prepares a guest that was interrupted inline for a thread: what it printed is lost, and had no effect."""
        self.executor = "restarted"
        self.context = ExecutionContext(self.invocation)

    def is_blocked(self) -> bool:
        """Whether the guest has printed so much that it will soon be blocked unless the output is read."""
        return self.context.streams.is_nearly_full

    def begin_streaming(self) -> None:
        """Reads output while the guest runs, and starts the timer of `limits.time`."""
        if self.outcome is None:
            self._is_streaming = True
            self.context.streams.begin_streaming()
            left = self.invocation.limits.time - GRACE
            self._timer = self._loop.call_later(max(0.0, left), self.stop, "time")
            self._on_slow()
            self._notify()

    def end(self, outcome: Outcome) -> None:
        """Records the outcome, logs the rest of standard error, and calls `on_end`."""
        if self._timer:
            self._timer.cancel()
        if outcome.kind == "failed" and self.executor == "inline":
            self._is_broken = True
        self.outcome = outcome
        self._notify()
        self._log_stderr()

    def log_all(self) -> None:
        """Logs the rest of an ended guest's standard error, and calls `on_end`, unless that was done."""
        self.context.streams.detach()
        self.is_logged = True
        on_end, self._on_end, self._on_slow = self._on_end, _nothing, _nothing  # a callback may keep the guest alive
        on_end(self)

    def _log_stderr(self) -> None:
        """Logs the rest of standard error, a piece in each turn of the event loop: no guest holds up the others."""
        if self.is_logged:
            return
        if self.context.streams.log_piece():
            self._loop.call_soon(self._log_stderr)
        else:
            self.log_all()

    def _count(self, data: bytes) -> bytes:
        self.stdout_size += len(data)
        excess = self.stdout_size - self.invocation.limits.stdout
        if excess <= 0:
            return data
        self.context.stop("stdout")  # also for a guest that has ended: its output is cut off all the same
        self.stop("stdout")
        return data[:-excess]

    async def _change(self) -> None:
        """Waits until a streaming guest has output to read, or until the guest has ended or was stopped."""
        self._waiter = self._loop.create_future()
        if self._is_streaming:
            self.context.streams.set_waiter(self._waiter)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _break(self) -> None:
        """Ends the reading of standard output."""
        self._is_broken = True
        self.context.streams.abandon()
        self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
