"""A guest at work, seen from the event loop: its output as it comes, its end, and the means to end it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import wasmtime

from . import capi
from .invocation import Invocation, Outcome, StopReason
from .pipes import CHUNK, read_available
from .slot import Slot

_QUICK = 0.005
"""Seconds after which a guest's output is read while it still runs; most guests are done by then, in one step."""
_STOPPED: dict[StopReason, str] = {
    "time": "the guest ran into limits.time ({limits.time:g} s)",
    "stdout": "the guest printed more than limits.stdout ({limits.stdout} bytes)",
    "disconnect": "the client went away",
    "shutdown": "the server is stopping",
    "descriptors": "the server ran out of descriptors, and the guest may open files or connections",
}


class Execution:
    """One invocation in flight. Everything but `run` belongs to the event loop."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        invocation: Invocation,
        slot: Slot,
        *,
        on_slow: Callable[[], None],
        on_end: Callable[[], None],
        on_idle: Callable[[Slot], None],
    ) -> None:
        """`on_slow` is called if the guest does not end at once, `on_end` when it has ended, `on_idle` when its slot is
        free for the next."""
        self.invocation = invocation
        self.outcome: Outcome | None = None
        """How the guest ended; None while it runs."""
        self.stdout_size = 0
        self.stderr_dropped = 0
        """Bytes of standard error beyond the limit."""
        self._engine = engine
        self._slot = slot
        self._on_slow = on_slow
        self._on_end = on_end
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._is_slow = False
        self._is_drained = False
        self._is_released = False
        self._waiter: asyncio.Future[None] | None = None
        self._timers = (
            self._loop.call_later(_QUICK, self._become_slow),
            self._loop.call_later(invocation.limits.time, self.stop, "time"),
        )
        slot.stderr_reader.attach(invocation)

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
            if self._slot.is_broken:
                return b""
            if has_ended or self._is_slow:
                data = read_available(self._slot.stdout)
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
            self._free_slot()

    def cancel(self) -> None:
        """Undoes the making of an execution that could not be started."""
        for timer in self._timers:
            timer.cancel()
        self._slot.stderr_reader.detach()
        self._on_idle(self._slot)

    def run(self) -> None:
        """The guest's whole life, on a thread. Never raises."""
        slot = self._slot
        self.invocation.outputs = slot.writers
        try:
            outcome = capi.run(self._engine, self.invocation, slot.stdout_path, slot.stderr_path)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the request must end and its place be given back
            outcome = Outcome("failed", message=f"{type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._end, outcome)

    def _end(self, outcome: Outcome) -> None:
        for timer in self._timers:
            timer.cancel()
        self.stderr_dropped = self._slot.stderr_reader.detach()
        self.outcome = outcome
        self._notify()
        self._on_end()
        if self._is_released:
            self._free_slot()

    def _free_slot(self) -> None:
        if not self._is_drained:
            self._break_stdout()
        self._on_idle(self._slot)

    def _count(self, data: bytes) -> bytes:
        self.stdout_size += len(data)
        excess = self.stdout_size - self.invocation.limits.stdout
        if excess <= 0:
            return data
        self.invocation.stop("stdout")  # also of a guest that has ended: its output is cut off all the same
        self.stop("stdout")
        return data[:-excess]

    def _become_slow(self) -> None:
        self._is_slow = True
        self._on_slow()
        self._notify()

    async def _change(self) -> None:
        """Waits until there is output to read (of a slow guest), or until something else has happened."""
        self._waiter = self._loop.create_future()
        reads = self._is_slow
        if reads:
            self._loop.add_reader(self._slot.stdout, self._notify)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if reads and not self._slot.is_broken:
                self._loop.remove_reader(self._slot.stdout)

    def _break_stdout(self) -> None:
        if not self._slot.is_broken:
            self._loop.remove_reader(self._slot.stdout)
            self._slot.break_stdout()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
