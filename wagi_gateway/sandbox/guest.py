"""A guest at work, seen from the event loop: its output as it comes, its end, and the means to end it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Literal, Protocol

import wasmtime

from .backend import Run
from .inline import InlinePolicy, Watchdog
from .invocation import Invocation, Outcome, StopReason
from .pipes import CHUNK, available, read_available
from .stdio import CAPACITY, Stdio

QUICK = 0.005
"""Seconds after which a guest's output is read while it still runs; most guests are done by then, in one step."""
_MUCH = CAPACITY // 2
Executor = Literal["inline", "restarted", "thread"]
_STOPPED: dict[StopReason, str] = {
    "time": "the guest ran into limits.time ({limits.time:g} s)",
    "stdout": "the guest printed more than limits.stdout ({limits.stdout} bytes)",
    "disconnect": "the client went away",
    "shutdown": "the server is stopping",
    "descriptors": "the server ran out of descriptors, and the guest may open files or connections",
}


class Keeper(Protocol):
    """What starts executions and looks after what they share."""

    loop: asyncio.AbstractEventLoop

    def grow(self) -> None:
        """A guest takes its time, and others should not wait for it."""

    def forget(self, guest: Guest) -> None:
        """A guest has ended."""

    def take_back(self, stdio: Stdio) -> None:
        """A slot is free for the next guest."""


class Guest:
    """One invocation in flight. Everything but `run` belongs to the event loop."""

    __slots__ = (
        "_engine",
        "_is_drained",
        "_is_released",
        "_is_slow",
        "_keeper",
        "_loop",
        "_on_end",
        "_on_slow",
        "_run",
        "_stdio",
        "_timer",
        "_waiter",
        "executor",
        "inline_policy",
        "invocation",
        "outcome",
        "started",
        "stderr_dropped",
        "stdout_size",
    )

    def __init__(
        self,
        run: Run,
        engine: wasmtime.Engine,
        invocation: Invocation,
        stdio: Stdio,
        inline_policy: InlinePolicy,
        keeper: Keeper,
        *,
        on_slow: Callable[[], None],
        on_end: Callable[[Guest], None],
    ) -> None:
        """`on_slow` is called if the guest does not end at once, `on_end` when it has ended."""
        self.invocation = invocation
        self.outcome: Outcome | None = None
        """How the guest ended; None while it runs."""
        self.stdout_size = 0
        self.stderr_dropped = 0
        """Bytes of standard error beyond the limit."""
        self.inline_policy = inline_policy
        self.executor: Executor = "thread"
        """Where it has run: on the event loop's thread, on that and then on another one, or on another one alone."""
        self.started = keeper.loop.time()
        self._run = run
        self._engine = engine
        self._stdio = stdio
        self._keeper = keeper
        self._loop = keeper.loop
        self._on_slow = on_slow
        self._on_end = on_end
        self._is_slow = False
        self._is_drained = False
        self._is_released = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        stdio.stderr_reader.attach(invocation)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the guest was ended from outside, if it was."""
        return self.invocation.stop_reason

    @property
    def is_complete(self) -> bool:
        """Whether the guest has ended by itself and everything it printed was read."""
        return self._is_drained and self.stop_reason is None

    def failure(self) -> str | None:
        """What went wrong, in the words of a log line; None for a guest that ended with exit code 0."""
        if reason := self.stop_reason:
            return _STOPPED[reason].format(limits=self.invocation.limits)
        if self.outcome is None or (self.outcome.kind == "exit" and not self.outcome.code):
            return None
        if self.outcome.kind == "exit":
            return f"the guest exited with code {self.outcome.code}"
        return f"{self.outcome.kind}: {self.outcome.trap}"

    async def read(self) -> bytes:
        """The next piece of standard output; empty when there is no more to come."""
        while not self._is_drained:
            has_ended = self.outcome is not None
            if self._stdio.is_broken:
                return b""
            if has_ended or self._is_slow:
                data = read_available(self._stdio.stdout)
                self._is_drained = has_ended and len(data) < CHUNK
                if data:
                    return self._count(data)
            if not has_ended:
                await self._change()
        return b""

    def stop(self, reason: StopReason) -> None:
        """Ends the guest wherever it is: computing, asleep or blocked in a write. Harmless once it has ended."""
        if self.outcome is None:
            self.invocation.stop(reason)
            self._break_stdout()
            self._notify()

    def release(self) -> None:
        """Nobody reads on: a guest that still runs is stopped, and the slot serves the next one."""
        self._is_released = True
        if self.outcome is None:
            self.stop("disconnect")
        else:
            self._free_stdio()

    def cancel(self) -> None:
        """Undoes the making of an execution that could not be started."""
        self._stdio.stderr_reader.detach()
        self._keeper.take_back(self._stdio)

    def run_here(self, watchdog: Watchdog) -> bool:
        """Runs the guest on the event loop's thread. Whether it has ended there; if not, nobody has seen that it ran,
        because it can do nothing but print, and its slot is of no more use. Never raises."""
        stdio, invocation = self._stdio, self.invocation
        invocation.is_on_loop = True
        self.executor = "inline"
        watchdog.enter(stdio)
        try:
            outcome = self._run(self._engine, invocation, stdio.stdout_path, stdio.stderr_path)
        except BaseException as error:  # noqa: BLE001 - as in `run`
            outcome = _failed(error)
        worked = watchdog.leave()
        invocation.is_on_loop = False
        if outcome.kind == "failed":
            self._break_stdout()
        elif worked is not None or outcome.was_interrupted:
            self.inline_policy.note_delay(worked or 0.0)
            stdio.close()
            self.executor = "restarted"
            return False
        self.inline_policy.note_end()
        self._end(outcome)
        return True

    def begin_again(self, stdio: Stdio) -> None:
        """The guest did not end on the event loop's thread, and gets a slot for another one."""
        self._stdio = stdio
        stdio.stderr_reader.attach(self.invocation)

    def run(self) -> None:
        """The guest's whole life, on a thread. Never raises."""
        stdio = self._stdio
        self.invocation.outputs = stdio.writers
        started = time.thread_time()
        try:
            outcome = self._run(self._engine, self.invocation, stdio.stdout_path, stdio.stderr_path)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the request must end and its place be given back
            outcome = _failed(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._end_run, outcome, time.thread_time() - started)

    def waits_for_reader(self) -> bool:
        """Whether the guest has printed so much that it soon has to wait until some of it is read."""
        return not self._stdio.is_broken and available(self._stdio.stdout) > _MUCH

    def become_slow(self) -> None:
        """The guest has not ended at once: from now on it is read while it runs, and its time is watched."""
        if self.outcome is None:
            self._is_slow = True
            left = self.invocation.limits.time - QUICK
            self._timer = self._loop.call_later(max(0.0, left), self.stop, "time")
            self._keeper.grow()
            self._on_slow()
            self._notify()

    def _end_run(self, outcome: Outcome, processor_seconds: float) -> None:
        self.inline_policy.note_run(processor_seconds)
        if self._timer:
            self._timer.cancel()
        self._keeper.forget(self)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.stderr_dropped = self._stdio.stderr_reader.detach()
        self.outcome = outcome
        self._notify()
        on_end, self._on_end, self._on_slow = self._on_end, _nothing, _nothing  # those it would keep alive keep it
        on_end(self)
        if self._is_released:
            self._free_stdio()

    def _free_stdio(self) -> None:
        if not self._is_drained:
            self._break_stdout()
        self._keeper.take_back(self._stdio)

    def _count(self, data: bytes) -> bytes:
        self.stdout_size += len(data)
        excess = self.stdout_size - self.invocation.limits.stdout
        if excess <= 0:
            return data
        self.invocation.stop("stdout")  # also of a guest that has ended: its output is cut off all the same
        self.stop("stdout")
        return data[:-excess]

    async def _change(self) -> None:
        """Waits until there is output to read (of a slow guest), or until something else has happened."""
        self._waiter = self._loop.create_future()
        reads = self._is_slow
        if reads:
            self._loop.add_reader(self._stdio.stdout, self._notify)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if reads and not self._stdio.is_broken:
                self._loop.remove_reader(self._stdio.stdout)

    def _break_stdout(self) -> None:
        if not self._stdio.is_broken:
            self._loop.remove_reader(self._stdio.stdout)
            self._stdio.break_stdout()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _nothing(*_: object) -> None:
    pass


def _failed(error: BaseException) -> Outcome:
    return Outcome("failed", message=f"{type(error).__name__}: {error}")
