"""The sandbox of one worker: runs guests inline or on threads, advances the epoch, and stops all guests at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Collection

import wasmtime

from ..compiler.component import WarmComponent
from ..errors import AtCapacity
from .backend import choose
from .blocked_opens import allow_interrupts, interrupt_opens
from .context import ExecutionContext
from .file_thread import FileThread
from .guest import GRACE, Guest
from .inline import InlinePolicy, Watchdog
from .invocation import Invocation, Outcome
from .pipes import PipePool
from .stack import GUEST_STACK, can_hold_guest
from .threads import ThreadPool

_EPOCH_INTERVAL = 0.05
"""Seconds between epochs, and so the longest time that a computing guest runs on after it was stopped."""
_CHECK_INTERVAL = 0.001
"""Seconds between checks of the guests that have just been started on a thread."""
_PEAK_WINDOW = 10.0
"""Seconds of the window whose peak of running guests decides the number of threads. After one without a guest no epoch
is needed until the next guest."""
_IDLE_INTERVAL = 3.0
"""Seconds between two uses of the thread for files while no guest runs."""
_MIN_FILES = 8
"""Files that every guest with volumes may open."""
_OVERDUE = 0.2
"""Seconds after `limits.time` at which a guest is known to be blocked."""
_OTHER_FILES = 8
"""Descriptors of a guest with volumes beside its files: its volumes, a directory that it lists, its wake-up."""
_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread may hold the GIL while the event loop waits for the GIL; CPython's default is ten times as
long, and a request takes the GIL several times."""
_CLOSE_TIMEOUT = 5.0
"""Seconds that guests have to end when the sandbox is closed."""


def _nothing(*_: object) -> None:
    pass


def inline_warning() -> str | None:
    """Why no guest may run on the calling thread, which is to run the event loop, if its stack is the reason."""
    if not choose().can_run_inline or can_hold_guest():
        return None
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return (
        f"quick guests run on threads of their own, which is slower: the main thread's stack has {limit >> 10} KiB,"
        f" less than the {GUEST_STACK >> 10} KiB for a guest; raise its limit (ulimit -s, LimitSTACK=)"
    )


class Sandbox:
    """Runs guests for one event loop, from `__aenter__` to `__aexit__`."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._backend = choose()
        self._threads = ThreadPool()
        self._running: set[Guest] = set()
        """Guests on threads."""
        self._peak = 0
        """The most guests on threads at one time in the current window."""
        self._all_ended = asyncio.Event()
        self._stop_ticker = threading.Event()
        self._allows_inline = False
        """Whether guests may run on the event loop's thread: its stack is known once the loop runs."""
        self._watchdog = Watchdog(engine)
        self._inline_policies: dict[tuple[str, bytes | None], InlinePolicy] = {}
        self._unlogged: set[Guest] = set()
        """Guests that have ended, with standard error that is not logged yet."""
        self._recent: list[Guest] = []
        """Guests that were started on a thread and do not stream yet."""
        self._recent_timer: asyncio.TimerHandle | None = None
        self._probe = -1
        """A descriptor of /dev/null, duplicated to find the lowest free descriptor."""
        self._max_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._files_left = self._max_descriptors // 2
        """Descriptors that are left for the files of guests; the other half is for everything else."""
        self._file_thread = FileThread()
        self._pipes = PipePool()
        self._is_ticking = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="epoch", daemon=True)

    async def __aenter__(self) -> Sandbox:
        """Raises OSError, RuntimeError where the system has no descriptor or thread left."""
        self.loop = asyncio.get_running_loop()
        allow_interrupts()
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL))
        with contextlib.ExitStack() as undo:
            self._probe = os.open(os.devnull, os.O_RDONLY)
            undo.callback(os.close, self._probe)
            self._allows_inline = self._backend.can_run_inline and can_hold_guest()
            if self._allows_inline:
                self._watchdog.start()
                undo.callback(self._watchdog.close)
            self._ticker.start()
            undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops every guest and waits for its end; leaves a guest behind that is stuck in a system call."""
        for guest in list(self._running):
            guest.stop("shutdown")
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_ended.wait(), _CLOSE_TIMEOUT)
        for guest in self._unlogged:
            if not guest.is_logged:
                guest.log_all()
        if self._recent_timer:
            self._recent_timer.cancel()
        self._recent.clear()
        self._stop_ticker.set()
        self._is_ticking.set()
        if self._allows_inline:
            await asyncio.to_thread(self._watchdog.close)
        await asyncio.to_thread(self._ticker.join)
        os.close(self._probe)
        self._pipes.close()
        self._threads.close()

    def start(
        self,
        invocation: Invocation,
        *,
        on_slow: Callable[[], None] = _nothing,
        on_end: Callable[[Guest], None] = _nothing,
    ) -> Guest:
        """Starts a guest; `on_slow` is called if the guest does not end at once, `on_end` when it has ended.

        Raises AtCapacity when the system has no thread left, or no descriptors for the guest's files.
        """
        policy = self.inline_policy(invocation)
        guest = Guest(invocation, self.loop, on_slow, on_end)
        if policy.is_allowed and self._allows_inline and _can_run_inline(invocation):
            if self._run_inline(guest, policy):
                return guest
            guest.restart()
        self._start_thread(guest, policy)
        return guest

    def inline_policy(self, invocation: Invocation) -> InlinePolicy:
        """Returns the policy of the invocation's module and entrypoint."""
        key = (invocation.module.digest, invocation.entrypoint)
        policy = self._inline_policies.get(key)
        if policy is None:
            policy = self._inline_policies[key] = InlinePolicy()
        return policy

    def forget_inline_policies(self, except_of: Collection[str]) -> None:
        """Forgets the policies of all modules but those with these digests."""
        self._inline_policies = {key: policy for key, policy in self._inline_policies.items() if key[0] in except_of}

    def _run_inline(self, guest: Guest, policy: InlinePolicy) -> bool:
        """Runs a guest on the event loop's thread; returns whether the guest has ended there.

        A guest that has not ended was interrupted. Such a guest can only print, so running it again from the
        start is safe. Never raises.
        """
        context = guest.context
        context.is_inline = True
        guest.executor = "inline"
        self._watchdog.enter(context)
        try:
            outcome = self._backend.run(self._engine, context)
        except BaseException as error:  # noqa: BLE001 - as in `_run_on_thread`
            outcome = _failed(error)
        worked = self._watchdog.leave()
        context.is_inline = False
        has_ended = outcome.kind != "trap" or not (context.is_ending or outcome.was_interrupted)
        if has_ended and worked is None:
            policy.count_inline_run()
        else:
            policy.count_interruption(worked or 0.0)
        if has_ended:
            self._end(guest, outcome)
        return has_ended

    def _end(self, guest: Guest, outcome: Outcome) -> None:
        guest.end(outcome)
        if not guest.is_logged:
            self._unlogged = {guest, *(other for other in self._unlogged if not other.is_logged)}

    def _start_thread(self, guest: Guest, policy: InlinePolicy) -> None:
        if guest.invocation.volumes:
            self._reserve_files(guest.context)
        guest.context.on_wait = self._add_threads
        guest.context.running = self._running
        guest.started = self.loop.time()
        self._running.add(guest)
        if not self._is_ticking.is_set():
            self._is_ticking.set()
        self._peak = max(self._peak, len(self._running))
        self._all_ended.clear()
        try:
            guest.context.streams.attach(self.loop, guest.context.wake, self._pipes)
            self._threads.submit(lambda: self._run_on_thread(guest, policy))
        except (RuntimeError, OSError) as error:
            self._remove(guest)
            guest.context.streams.detach()
            lacking = "pipe" if isinstance(error, OSError) else "thread"
            raise AtCapacity(f"no {lacking} for a sandbox: {error}") from None
        self._recent.append(guest)
        if self._recent_timer is None:
            self._recent_timer = self.loop.call_later(_CHECK_INTERVAL, self._promote_slow_guests)

    def _reserve_files(self, context: ExecutionContext) -> None:
        """Reserves the descriptors that a guest may open; fewer than `limits.files` where not many are left.

        So no guest can take the descriptors of another guest, or of the server. Raises AtCapacity.
        """
        context.max_files = min(context.max_files, max(self._files_left // 4, _MIN_FILES))
        if context.max_files + _OTHER_FILES > self._files_left:
            raise AtCapacity("too few descriptors for the files of a sandbox", limit="descriptors")
        self._files_left -= context.max_files + _OTHER_FILES

    def _run_on_thread(self, guest: Guest, policy: InlinePolicy) -> None:
        """Runs a guest to its end on a thread of the pool. Never raises."""
        started = time.thread_time()
        try:
            is_component = isinstance(guest.invocation.module, WarmComponent)
            # Components read their standard input, and wait, on wasmtime's threads, too.
            if (guest.invocation.volumes or is_component) and not self._file_thread.keep():
                outcome = Outcome("starved", message="the system has no thread left for files")
            else:
                run = self._backend.run_component if is_component else self._backend.run
                outcome = run(self._engine, guest.context)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the request must end and free its concurrency
            outcome = _failed(error)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self.loop.call_soon_threadsafe(self._end_thread_run, guest, policy, outcome, time.thread_time() - started)

    def _end_thread_run(self, guest: Guest, policy: InlinePolicy, outcome: Outcome, processor_seconds: float) -> None:
        policy.count_thread_run(processor_seconds)
        self._remove(guest)
        self._end(guest, outcome)

    def _remove(self, guest: Guest) -> None:
        self._running.discard(guest)
        if guest.invocation.volumes:
            self._files_left += guest.context.max_files + _OTHER_FILES
        if not self._running:
            self._all_ended.set()

    def _promote_slow_guests(self) -> None:
        """Starts streaming for the guests that still run after GRACE. One timer checks all recently started guests."""
        horizon = self.loop.time() - GRACE
        recent, self._recent = self._recent, []
        for guest in recent:
            if guest.outcome is not None:
                continue
            if guest.started <= horizon or guest.is_blocked():
                self._add_threads()
                guest.begin_streaming()
            else:
                self._recent.append(guest)
        self._recent_timer = self.loop.call_later(_CHECK_INTERVAL, self._promote_slow_guests) if self._recent else None

    def _add_threads(self) -> None:
        """Grows the pool to one thread more than there are running guests. May be called from any thread."""
        with contextlib.suppress(RuntimeError):  # the system has no thread left: guests wait for each other
            self._threads.grow(len(self._running) + 1)

    def _tick(self) -> None:
        window_ends = time.monotonic() + _PEAK_WINDOW
        while not self._stop_ticker.wait(_EPOCH_INTERVAL):
            if time.monotonic() >= window_ends:
                self._threads.shrink(self._peak + 1)
                if not self._peak:
                    self._wait_for_guest()
                self._peak = len(self._running)
                window_ends = time.monotonic() + _PEAK_WINDOW
            if self._descriptors_are_short():
                self._stop_guests_that_call_out()
            self._end_late_guests()
            self._file_thread.keep_if_used()
            self._engine.increment_epoch()
            self._backend.tick()

    def _wait_for_guest(self) -> None:
        """Waits until a guest runs on a thread, or the sandbox is closed: twenty epochs a second cost 2 ms."""
        self._is_ticking.clear()
        while not (self._running or self._stop_ticker.is_set()) and not self._is_ticking.wait(_IDLE_INTERVAL):
            self._file_thread.keep_if_used()
        self._is_ticking.set()

    def _end_late_guests(self) -> None:
        """Has guests end at their next host call once their time is over, also those that open a FIFO."""
        overdue = time.monotonic() - _OVERDUE
        for guest in list(self._running):
            if guest.context.must_stop() and guest.invocation.volumes and guest.context.deadline < overdue:
                interrupt_opens()

    def _stop_guests_that_call_out(self) -> None:
        """Stops the guests that may have connections open, and components with volumes, which may have more files open
        than were reserved. Core modules have no more."""
        for guest in list(self._running):
            is_component = isinstance(guest.invocation.module, WarmComponent)
            if guest.invocation.outbound or (is_component and guest.invocation.volumes):
                guest.context.stop("descriptors")

    def _descriptors_are_short(self) -> bool:
        """Whether more than three quarters of the process's descriptors are in use, judged by the lowest free one."""
        try:
            lowest = os.dup(self._probe)
        except OSError:
            return True
        os.close(lowest)
        return lowest > self._max_descriptors * 3 // 4


def _can_run_inline(invocation: Invocation) -> bool:
    """Whether an epoch ends the guest in time, and the guest can do nothing but print: no file, no call."""
    return invocation.module.is_interruptible and not invocation.volumes and not isinstance(invocation.stdin, int)


def _failed(error: BaseException) -> Outcome:
    return Outcome("failed", message=f"{type(error).__name__}: {error}")
