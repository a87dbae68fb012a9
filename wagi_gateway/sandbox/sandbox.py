"""The sandboxes of one worker: slots that are reused, one epoch ticker, and an end to all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
from collections.abc import Callable

import wasmtime

from ..errors import AtCapacity
from .capi import check_abi
from .execution import Execution
from .invocation import Invocation
from .slot import Slot
from .threads import Threads

_TICK = 0.05
"""Seconds between epochs: how late a stop reaches a guest that computes."""
_MAX_IDLE = 64
"""Slots that are kept for the next guest."""
_CLOSE = 5.0
"""Seconds that guests have to end when the sandbox is closed."""


class Sandbox:
    """Starts invocations on one event loop, between its `async with`'s begin and end."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        """Raises AbiMismatch."""
        check_abi()
        self._engine = engine
        self._threads = Threads()
        self._idle: list[Slot] = []
        self._running: set[Execution] = set()
        self._is_closing = False
        self._none_runs = asyncio.Event()
        self._end_ticker = threading.Event()
        self._probe = -1
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._ticker = threading.Thread(target=self._tick, name="epoch", daemon=True)

    async def __aenter__(self) -> Sandbox:
        self._probe = os.open(os.devnull, os.O_RDONLY)
        self._ticker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops every guest and waits for their end; one that is stuck in a system call is left behind."""
        self._is_closing = True
        for execution in list(self._running):
            execution.stop("shutdown")
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_runs.wait(), _CLOSE)
        self._end_ticker.set()
        await asyncio.to_thread(self._ticker.join)
        os.close(self._probe)
        self._threads.close()
        while self._idle:
            self._idle.pop().close()

    def start(
        self,
        invocation: Invocation,
        *,
        on_slow: Callable[[], None] = lambda: None,
        on_end: Callable[[Execution], None] = lambda _execution: None,
    ) -> Execution:
        """Starts a guest; `on_slow` is called if it does not end at once, `on_end` when it has ended.

        Raises AtCapacity when the system has no descriptor or thread left.
        """
        try:
            slot = self._idle.pop() if self._idle else Slot(asyncio.get_running_loop())
        except OSError as error:
            raise AtCapacity(f"no pipe for a sandbox: {error}") from None

        def grow() -> None:
            with contextlib.suppress(RuntimeError):  # no more threads to be had: guests wait for each other
                self._threads.grow(len(self._running) + 1)  # and one for the next

        def slow() -> None:
            grow()
            on_slow()

        def ended() -> None:
            self._running.discard(execution)
            if not self._running:
                self._none_runs.set()
            on_end(execution)

        execution = Execution(self._engine, invocation, slot, on_slow=slow, on_end=ended, on_idle=self._take_back)
        invocation.on_wait = grow
        self._running.add(execution)
        try:
            self._threads.submit(execution.run)
        except RuntimeError as error:
            self._running.discard(execution)
            execution.cancel()
            raise AtCapacity(f"no thread for a sandbox: {error}") from None
        self._none_runs.clear()
        return execution

    def _take_back(self, slot: Slot) -> None:
        if slot.is_broken or self._is_closing or len(self._idle) >= _MAX_IDLE:
            slot.close()
        else:
            self._idle.append(slot)

    def _tick(self) -> None:
        while not self._end_ticker.wait(_TICK):
            if self._descriptors_are_short():
                self._stop_openers()
            self._engine.increment_epoch()

    def _stop_openers(self) -> None:
        """A guest with a volume may open files without end, and wasmtime has no bound for it; one that calls out, many
        connections."""
        for execution in list(self._running):
            if execution.invocation.volumes or execution.invocation.outbound:
                execution.invocation.stop("descriptors")

    def _descriptors_are_short(self) -> bool:
        """Whether more than half of this process's descriptors are in use; the lowest free one tells."""
        try:
            lowest = os.dup(self._probe)
        except OSError:
            return True
        os.close(lowest)
        return lowest > self._descriptors // 2
