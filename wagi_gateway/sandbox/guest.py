"""A running guest as the event loop sees it: its output as it comes, its end, and the means to end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from .context import ExecutionContext
from .invocation import Invocation, Outcome, StopReason
from .pipes import CHUNK, available, read_available
from .stdio import CAPACITY, Stdio, StdioPool

GRACE = 0.005
"""Seconds after which a guest's output is read while the guest runs. Most guests end earlier: one read is enough."""
_NEARLY_FULL = CAPACITY // 2
Executor = Literal["inline", "restarted", "thread"]
_STOPPED: dict[StopReason, str] = {
    "time": "the guest ran into limits.time ({limits.time:g} s)",
    "stdout": "the guest printed more than limits.stdout ({limits.stdout} bytes)",
    "disconnect": "the client went away",
    "shutdown": "the server is stopping",
    "descriptors": "the server ran out of descriptors, and the guest may open files or connections",
}


def _nothing(*_: object) -> None:
    pass


class Guest:
    """One guest from its start to the release of its pipes. Belongs to the event loop."""

    __slots__ = (
        "_is_drained",
        "_is_released",
        "_is_streaming",
        "_loop",
        "_on_end",
        "_on_slow",
        "_pool",
        "_timer",
        "_waiter",
        "context",
        "executor",
        "invocation",
        "outcome",
        "started",
        "stderr_dropped",
        "stdio",
        "stdout_size",
    )

    def __init__(
        self,
        invocation: Invocation,
        pool: StdioPool,
        loop: asyncio.AbstractEventLoop,
        *,
        on_slow: Callable[[], None],
        on_end: Callable[[Guest], None],
    ) -> None:
        """`on_slow` is called if the guest does not end at once, `on_end` when the guest has ended.

        Raises OSError where the system has no descriptor left for the guest's pipes.
        """
        self.invocation = invocation
        self.context = ExecutionContext(invocation)
        self.outcome: Outcome | None = None
        """How the guest ended; None while the guest runs."""
        self.executor: Executor = "thread"
        """What ran the guest: the event loop's thread (`inline`), first that and then a thread of the pool
        (`restarted`), or a thread of the pool alone."""
        self.stdout_size = 0
        """Bytes of standard output that were read."""
        self.stderr_dropped = 0
        """Bytes of standard error beyond `limits.stderr`."""
        self.started = loop.time()
        self.stdio: Stdio = pool.take()
        self._pool = pool
        self._loop = loop
        self._on_slow = on_slow
        self._on_end = on_end
        self._is_streaming = False
        self._is_drained = False
        self._is_released = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.stdio.attach(invocation)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the gateway ended the guest; None for a guest that ended by itself."""
        return self.context.stop_reason

    @property
    def is_complete(self) -> bool:
        """Whether the guest has ended by itself and all of its standard output was read."""
        return self._is_drained and self.stop_reason is None

    def failure(self) -> str | None:
        """Returns what went wrong, in the words of a log line; None for a guest that ended with exit code 0."""
        if reason := self.stop_reason:
            return _STOPPED[reason].format(limits=self.invocation.limits)
        if self.outcome is None or (self.outcome.kind == "exit" and not self.outcome.code):
            return None
        if self.outcome.kind == "exit":
            return f"the guest exited with code {self.outcome.code}"
        return f"{self.outcome.kind}: {self.outcome.trap}"

    async def read(self) -> bytes:
        """Returns the next piece of standard output; empty at its end."""
        while not self._is_drained:
            has_ended = self.outcome is not None
            if self.stdio.is_broken:
                return b""
            if has_ended or self._is_streaming:
                data = read_available(self.stdio.stdout)
                self._is_drained = has_ended and len(data) < CHUNK
                if data:
                    return self._count(data)
            if not has_ended:
                await self._change()
        return b""

    def stop(self, reason: StopReason) -> None:
        """Ends the guest, whether it computes, sleeps or is blocked in a write. Does nothing once it has ended."""
        if self.outcome is None:
            self.context.stop(reason)
            self._break_stdout()
            self._notify()

    def release(self) -> None:
        """Ends the reading of standard output: stops a guest that still runs, and gives its pipes back at its end."""
        self._is_released = True
        if self.outcome is None:
            self.stop("disconnect")
        else:
            self._release_stdio()

    def discard(self) -> None:
        """Gives the pipes of a guest back that could not be started."""
        self.stdio.detach()
        self._pool.give_back(self.stdio)

    def restart(self) -> None:
        """Prepares a guest that was interrupted inline for a thread, with other pipes: what it printed is lost, and
        had no effect. Raises OSError where the system has no descriptor left."""
        self.executor = "restarted"
        self.stdio.close()
        self.stdio = self._pool.take()
        self.stdio.attach(self.invocation)

    def is_blocked(self) -> bool:
        """Whether the guest has filled half of its pipe, and will soon be blocked unless the pipe is read."""
        return not self.stdio.is_broken and available(self.stdio.stdout) > _NEARLY_FULL

    def begin_streaming(self) -> None:
        """Reads output while the guest runs, and starts the timer of `limits.time`."""
        if self.outcome is None:
            self._is_streaming = True
            left = self.invocation.limits.time - GRACE
            self._timer = self._loop.call_later(max(0.0, left), self.stop, "time")
            self._on_slow()
            self._notify()

    def end(self, outcome: Outcome) -> None:
        """Records the outcome, calls `on_end`, and gives the pipes back if `release` was called."""
        if self._timer:
            self._timer.cancel()
        if outcome.kind == "failed" and self.executor == "inline":
            self._break_stdout()
        self.stderr_dropped = self.stdio.detach()
        self.outcome = outcome
        self._notify()
        on_end, self._on_end, self._on_slow = self._on_end, _nothing, _nothing  # a callback may keep the guest alive
        on_end(self)
        if self._is_released:
            self._release_stdio()

    def _release_stdio(self) -> None:
        if not self._is_drained:
            self._break_stdout()
        self._pool.give_back(self.stdio)

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
        reads = self._is_streaming
        if reads:
            self._loop.add_reader(self.stdio.stdout, self._notify)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if reads and not self.stdio.is_broken:
                self._loop.remove_reader(self.stdio.stdout)

    def _break_stdout(self) -> None:
        if not self.stdio.is_broken:
            self._loop.remove_reader(self.stdio.stdout)
            self.stdio.break_stdout()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
