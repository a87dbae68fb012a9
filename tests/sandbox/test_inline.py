"""Inline execution: the watchdog interrupts guests that block the event loop; the policy allows fast modules alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import wasmtime

from tests.conftest import wait_until
from tests.support import guests
from tests.support.sandbox import compiler, invocation
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.inline import TIME_SLICE, TIME_SLICE_EPOCHS, InlinePolicy, Watchdog

TURNS = 1500
TIMEOUT = 10.0
"""Seconds."""

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


class CountingWatchdog(Watchdog):
    """A watchdog that counts its checks of a guest."""

    def __init__(self) -> None:
        super().__init__(compiler().engine)
        self.checks = threading.Semaphore(0)

    def _check(self, context: ExecutionContext) -> None:
        self.checks.release()
        super()._check(context)


@contextmanager
def watching() -> Iterator[CountingWatchdog]:
    watchdog = CountingWatchdog()
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.close()


def is_parked(watchdog: Watchdog) -> bool:
    return not watchdog._is_needed.is_set()


class Guest(ExecutionContext):
    """A guest that calls a function when it is interrupted."""

    __slots__ = ("_on_interrupt",)

    def __init__(self, on_interrupt: Callable[[], None] = lambda: None) -> None:
        super().__init__(invocation(guests.HELLO))
        self._on_interrupt = on_interrupt

    def interrupt(self) -> None:
        super().interrupt()
        self._on_interrupt()


def compute_until(is_done: Callable[[], bool]) -> None:
    """Uses processor time, as a guest on this thread, until a condition holds."""
    end = time.monotonic() + TIMEOUT
    while not is_done():
        assert time.monotonic() < end


def test_a_guest_that_computes_is_interrupted() -> None:
    guest = Guest()
    with watching() as watchdog:
        watchdog.enter(guest)
        compute_until(lambda: guest.is_ending)
        next_epoch = threading.Event()
        watchdog._engine = _NotifyingEngine(watchdog._engine, next_epoch)  # type: ignore[assignment]
        assert next_epoch.wait(TIMEOUT)
        worked = watchdog.leave()
    assert worked is not None
    assert TIME_SLICE / 2 < worked < 1
    assert guest.stop_reason is None


def test_a_guest_that_leaves_in_time_is_not_interrupted() -> None:
    with watching() as watchdog:
        for _ in range(1000):
            guest = Guest()
            watchdog.enter(guest)
            if watchdog.leave() is None:
                assert not guest.is_ending
                return
    raise AssertionError("all were interrupted")


def test_a_guest_that_computes_meets_epochs() -> None:
    store = wasmtime.Store(compiler().engine)
    store.set_epoch_deadline(TIME_SLICE_EPOCHS)
    module = wasmtime.Module(store.engine, guests.LOOP)
    start = wasmtime.Instance(store, module, []).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    ended: list[Exception] = []

    def loop() -> None:
        try:
            start(store)
        except wasmtime.Trap as trap:
            ended.append(trap)

    guest = threading.Thread(target=loop, daemon=True)
    guest.start()
    with watching() as watchdog:
        watchdog.enter(Guest())
        compute_until(lambda: not guest.is_alive())
        assert watchdog.leave() is not None
    assert len(ended) == 1


def test_no_interruption_after_a_guest_has_left() -> None:
    """`leave` waits for an interruption that has begun already."""
    has_begun, may_end, is_done = threading.Event(), threading.Event(), threading.Event()

    def interrupt() -> None:
        has_begun.set()
        assert may_end.wait(TIMEOUT)
        is_done.set()

    with watching() as watchdog:
        watchdog.enter(Guest(interrupt))
        compute_until(has_begun.is_set)
        threading.Timer(0.01, may_end.set).start()
        assert watchdog.leave() is not None
        assert is_done.is_set()
        is_done.clear()
        wait_until(lambda: is_parked(watchdog))
        assert not is_done.is_set()


def test_a_parked_watchdog_wakes_up() -> None:
    with watching() as watchdog:
        for _ in range(3):
            wait_until(lambda: is_parked(watchdog))
            guest = Guest()
            watchdog.enter(guest)
            compute_until(lambda guest=guest: guest.is_ending)  # type: ignore[misc]
            watchdog.leave()


def test_a_guest_without_a_processor_is_not_interrupted() -> None:
    """This thread sleeps while the watchdog checks its processor time, like a guest that waits for a processor."""
    guest = Guest()
    with watching() as watchdog:
        watchdog.enter(guest)
        assert all(watchdog.checks.acquire(timeout=TIMEOUT) for _ in range(5))
        assert watchdog.leave() is None
    assert not guest.is_ending


class _NotifyingEngine:
    """An engine that sets an event after each increment of the epoch."""

    def __init__(self, engine: wasmtime.Engine, epoch: threading.Event) -> None:
        self._engine = engine
        self._epoch = epoch

    def increment_epoch(self) -> None:
        self._engine.increment_epoch()
        self._epoch.set()


class _SetBeforeClear(threading.Event):
    """An event whose `clear` waits for a concurrent `set`, and so undoes it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()
        self._was_set = threading.Event()

    def set(self) -> None:
        super().set()
        self._was_set.set()

    def clear(self) -> None:
        self.is_awaited.set()
        assert self._was_set.wait(TIMEOUT)
        super().clear()


@pytest.mark.parametrize("moment", ["at once", "about to park", "parked"])
def test_the_end(moment: str) -> None:
    watchdog = Watchdog(compiler().engine)
    if moment == "about to park":
        watchdog._is_needed = needed = _SetBeforeClear()
    watchdog.start()
    if moment == "about to park":
        assert needed.is_awaited.wait(TIMEOUT)
    if moment == "parked":
        wait_until(lambda: is_parked(watchdog))
    closing = threading.Thread(target=watchdog.close, daemon=True)
    closing.start()
    closing.join(TIMEOUT)
    assert not closing.is_alive()


@pytest.mark.usefixtures("nervous")
def test_no_guest_is_taken_for_another() -> None:
    """Guests leave at once, at the moment of a check, or after it."""
    seen: list[tuple[int, int]] = []
    inside = [-1]
    chance = random.Random(7)

    with watching() as watchdog:
        for turn in range(TURNS):
            count = len(seen)
            inside[0] = turn
            watchdog.enter(Guest(lambda turn=turn: seen.append((turn, inside[0]))))  # type: ignore[misc]
            if turn % 10 == 0:
                compute_until(lambda count=count: len(seen) > count)  # type: ignore[misc]
            else:
                for _ in range(chance.randrange(2000)):
                    pass
            was_interrupted = watchdog.leave() is not None
            inside[0] = -1
            assert was_interrupted == (len(seen) > count)
    assert len(seen) >= TURNS / 10
    assert [(turn, other) for turn, other in seen if turn != other] == []


FAST, SLOW = 0.0005, 0.0006
"""Seconds of processor time of a guest on a thread."""
BLOCKED, BLOCKED_LONG = 2 * TIME_SLICE, 5 * TIME_SLICE
"""Seconds for which a guest blocked the event loop."""
MIN_STREAK = 8
"""Fast runs in a row that a new module needs."""
MAX_STREAK = MIN_STREAK**7


def policy_after(*runs: float) -> InlinePolicy:
    """The policy after runs on threads of so many seconds."""
    policy = InlinePolicy()
    for seconds in runs:
        policy.count_thread_run(seconds)
    return policy


def streak(policy: InlinePolicy) -> int:
    """The number of fast runs until the policy, which does not allow inline runs yet, allows them."""
    count = 0
    while not policy.is_allowed:
        policy.count_thread_run(FAST)
        count += 1
    return count


@pytest.mark.parametrize(
    ("runs", "is_allowed"),
    [
        ([], False),
        ([FAST] * 7, False),
        ([FAST] * 8, True),
        ([0.0] * 8, True),
        ([SLOW] * 100, False),
        ([*[FAST] * 7, SLOW, *[FAST] * 7], False),
        ([*[FAST] * 7, SLOW, *[FAST] * 8], True),
        ([*[FAST] * 8, SLOW], True),
    ],
    ids="new|seven|eight|no time at all|slow|one is slow|then eight|slow on a thread once allowed".split("|"),
)
def test_is_allowed(runs: list[float], is_allowed: bool) -> None:
    assert policy_after(*runs).is_allowed == is_allowed


@pytest.mark.parametrize(
    ("blocked", "streaks"),
    [
        ([BLOCKED], [64]),
        ([BLOCKED] * 3, [64, 512, 4096]),
        ([BLOCKED_LONG], [4096]),
        ([BLOCKED_LONG, BLOCKED], [4096, 8 * 4096]),
        ([BLOCKED_LONG, BLOCKED_LONG, BLOCKED_LONG], [4096, MAX_STREAK, MAX_STREAK]),
    ],
    ids="once|three times|long|long and once more|long and long".split("|"),
)
def test_a_guest_that_blocks_the_event_loop(blocked: list[float], streaks: list[int]) -> None:
    policy = policy_after(*[FAST] * MIN_STREAK)
    found = []
    for seconds in blocked:
        policy.count_interruption(seconds)
        assert not policy.is_allowed
        found.append(streak(policy))
    assert found == streaks


def test_fast_runs_before_an_interruption_count_no_more() -> None:
    policy = policy_after(*[FAST] * (MIN_STREAK + 7))
    policy.count_interruption(BLOCKED)
    assert streak(policy) == 64


@pytest.mark.parametrize(("ends", "expected"), [(511, 8 * 512), (512, 512), (512 + 64, 64), (512 + 64 + 8, 64)])
def test_guests_that_end_in_time_are_credited(ends: int, expected: int) -> None:
    policy = policy_after(*[FAST] * MIN_STREAK)
    for _ in range(2):
        policy.count_interruption(BLOCKED)
        streak(policy)
    for _ in range(ends):
        policy.count_inline_run()
    assert policy.is_allowed
    policy.count_interruption(BLOCKED)
    assert streak(policy) == expected
