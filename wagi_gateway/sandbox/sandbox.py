"""The sandboxes of one worker: slots that are reused, one epoch ticker, and an end to all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Collection

import wasmtime

from ..errors import AtCapacity
from . import public
from .backend import choose_path
from .guest import QUICK, Guest
from .inline import InlinePolicy, Watchdog
from .invocation import Invocation
from .stdio import Stdio
from .threads import ThreadPool

_TICK = 0.05
"""Seconds between epochs: how late a stop reaches a guest that computes."""
_LOOK = 0.001
"""Seconds between two looks at guests that have just begun to run on a thread."""
_MAX_IDLE = 64
"""Slots that are kept for the next guest."""
_SPAN = 10.0
"""Seconds of which the busiest moment says how many threads there are to be."""
_CLOSE = 5.0
"""Seconds that guests have to end when the sandbox is closed."""


class Sandbox:
    """Starts invocations on one event loop, between its `async with`'s begin and end."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._path = choose_path()
        self._threads = ThreadPool()
        self._idle: list[Stdio] = []
        self._running: set[Guest] = set()
        self._most = 0
        """Guests that ran on threads at the same time in the span that is under way."""
        self._is_closing = False
        self._none_runs = asyncio.Event()
        self._end_ticker = threading.Event()
        self._watchdog = Watchdog(engine)
        self._inline_policies: dict[tuple[str, tuple[bytes, ...]], InlinePolicy] = {}
        self._recent: list[Guest] = []
        self._recent_timer: asyncio.TimerHandle | None = None
        self._probe = -1
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._ticker = threading.Thread(target=self._tick, name="epoch", daemon=True)

    async def __aenter__(self) -> Sandbox:
        """Raises OSError, RuntimeError where the system has no descriptor or thread left."""
        self.loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            self._probe = os.open(os.devnull, os.O_RDONLY)
            undo.callback(os.close, self._probe)
            if self._path.gives_way:
                self._watchdog.start()
                undo.callback(self._watchdog.close)
            self._ticker.start()
            undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops every guest and waits for their end; one that is stuck in a system call is left behind."""
        self._is_closing = True
        for guest in list(self._running):
            guest.stop("shutdown")
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_runs.wait(), _CLOSE)
        if self._recent_timer:
            self._recent_timer.cancel()
        self._recent.clear()  # each of them knows this sandbox
        self._end_ticker.set()
        if self._path.gives_way:
            await asyncio.to_thread(self._watchdog.close)
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
        on_end: Callable[[Guest], None] = lambda _guest: None,
    ) -> Guest:
        """Starts a guest; `on_slow` is called if it does not end at once, `on_end` when it has ended.

        Raises AtCapacity when the system has no descriptor or thread left.
        """
        inline_policy = self._inline_policy(invocation)
        guest = Guest(
            self._path.run, self._engine, invocation, self._stdio(), inline_policy, self, on_slow=on_slow, on_end=on_end
        )
        if inline_policy.is_quick and self._path.gives_way and _can_run_here(invocation):
            if guest.run_here(self._watchdog):
                return guest
            guest.begin_again(self._stdio())
        invocation.on_wait = self.grow
        self._running.add(guest)
        self._most = max(self._most, len(self._running))
        self._none_runs.clear()
        try:
            self._threads.submit(guest.run)
        except RuntimeError as error:
            self.forget(guest)
            guest.cancel()
            raise AtCapacity(f"no thread for a sandbox: {error}") from None
        self._recent.append(guest)
        if self._recent_timer is None:
            self._recent_timer = self.loop.call_later(_LOOK, self._promote_slow_guests)
        return guest

    def forget_inline_policies(self, except_of: Collection[str]) -> None:
        """Modules but those with these digests will not come again."""
        self._inline_policies = {
            key: inline_policy for key, inline_policy in self._inline_policies.items() if key[0] in except_of
        }

    def _stdio(self) -> Stdio:
        try:
            return self._idle.pop() if self._idle else Stdio(self.loop)
        except OSError as error:
            raise AtCapacity(f"no pipe for a sandbox: {error}", limit="descriptors") from None

    def _inline_policy(self, invocation: Invocation) -> InlinePolicy:
        key = (invocation.module.digest, invocation.entrypoints)
        inline_policy = self._inline_policies.get(key)
        if inline_policy is None:
            inline_policy = self._inline_policies[key] = InlinePolicy()
        return inline_policy

    def _promote_slow_guests(self) -> None:
        """One timer for all guests, since few live to see it."""
        horizon = self.loop.time() - QUICK
        recent, self._recent = self._recent, []
        for guest in recent:
            if guest.outcome is not None:
                continue
            if guest.started <= horizon or guest.waits_for_reader():
                guest.become_slow()
            else:
                self._recent.append(guest)
        self._recent_timer = self.loop.call_later(_LOOK, self._promote_slow_guests) if self._recent else None

    def grow(self) -> None:
        """A guest takes its time: the others get threads of their own. May be called from any thread."""
        with contextlib.suppress(RuntimeError):  # no more threads to be had: guests wait for each other
            self._threads.grow(len(self._running) + 1)  # and one for the next

    def forget(self, guest: Guest) -> None:
        """The guest has ended."""
        self._running.discard(guest)
        if not self._running:
            self._none_runs.set()

    def take_back(self, stdio: Stdio) -> None:
        """Nobody reads from the slot any more."""
        if stdio.is_broken or self._is_closing or len(self._idle) >= _MAX_IDLE:
            stdio.close()
        else:
            self._idle.append(stdio)

    def _tick(self) -> None:
        span_ends = time.monotonic() + _SPAN
        while not self._end_ticker.wait(_TICK):
            if time.monotonic() >= span_ends:
                self._threads.shrink(self._most + 1)
                self._most = len(self._running)
                span_ends = time.monotonic() + _SPAN
            if self._descriptors_are_short():
                self._stop_openers()
            self._engine.increment_epoch()
            public.tick()

    def _stop_openers(self) -> None:
        """A guest with a volume may open files without end, and wasmtime has no bound for it; one that calls out, many
        connections."""
        for guest in list(self._running):
            if guest.invocation.volumes or guest.invocation.outbound:
                guest.invocation.stop("descriptors")

    def _descriptors_are_short(self) -> bool:
        """Whether more than half of this process's descriptors are in use; the lowest free one tells."""
        try:
            lowest = os.dup(self._probe)
        except OSError:
            return True
        os.close(lowest)
        return lowest > self._descriptors // 2


def _can_run_here(invocation: Invocation) -> bool:
    """Whether a guest is ended in time on the event loop's thread, and can do nothing but print: no file, no call."""
    return invocation.module.is_interruptible and not invocation.volumes and not isinstance(invocation.stdin, int)
