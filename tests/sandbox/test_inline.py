"""The watchdog interrupts a guest that blocks the event loop, and no other; the policy allows fast modules alone."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import wasmtime

from tests.conftest import wait_until
from tests.support import guests
from tests.support.sandbox import compiler
from wagi_gateway.sandbox.inline import TIME_SLICE, TIME_SLICE_EPOCHS, InlinePolicy, Watchdog

TURNS = 1500
PATIENCE = 10.0
"""Seconds."""

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


@contextmanager
def watching() -> Iterator[Watchdog]:
    watch = Watchdog(compiler().engine)
    watch.start()
    try:
        yield watch
    finally:
        watch.close()


def is_parked(watch: Watchdog) -> bool:
    return not watch._is_needed.is_set()


def test_one_that_stays_is_cut_off_once() -> None:
    cuts: list[int] = []
    has_cut = threading.Event()

    def cut(nothing: int) -> None:
        cuts.append(len(os.read(nothing, 1)))
        has_cut.set()

    with watching() as watch:
        watch.enter(Blocked(cut))  # type: ignore[arg-type]
        assert has_cut.wait(PATIENCE)
        is_looked_for_again = threading.Event()
        watch._engine = _Counts(watch._engine, is_looked_for_again)  # type: ignore[assignment]
        assert is_looked_for_again.wait(PATIENCE)
        assert watch.leave() is not None
    assert cuts == [0]


def test_one_that_leaves_in_time_is_not_cut_off() -> None:
    with watching() as watch:
        for _ in range(1000):
            watch.enter(Blocked(lambda _: None))  # type: ignore[arg-type]
            if watch.leave() is None:
                return
    raise AssertionError("all were cut off")


def test_one_that_stays_meets_epochs() -> None:
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
    with watching() as watch:
        watch.enter(Blocked(lambda _: None))  # type: ignore[arg-type]
        guest.join(PATIENCE)
        assert watch.leave() is not None
    assert len(ended) == 1


def test_who_leaves_is_left_alone() -> None:
    """Also by a call that has begun already."""
    has_begun, may_end, is_done = threading.Event(), threading.Event(), threading.Event()

    def cut(_nothing: int) -> None:
        has_begun.set()
        assert may_end.wait(PATIENCE)
        is_done.set()

    with watching() as watch:
        watch.enter(Blocked(cut))  # type: ignore[arg-type]
        assert has_begun.wait(PATIENCE)
        threading.Timer(0.01, may_end.set).start()
        assert watch.leave() is not None
        assert is_done.is_set()
        is_done.clear()
        wait_until(lambda: is_parked(watch))
        assert not is_done.is_set()


def test_a_watch_that_rests_is_woken() -> None:
    is_called = threading.Event()

    def cut(_nothing: int) -> None:
        is_called.set()

    with watching() as watch:
        for _ in range(3):
            wait_until(lambda: is_parked(watch))
            watch.enter(Blocked(cut))  # type: ignore[arg-type]
            assert is_called.wait(PATIENCE)
            watch.leave()
            is_called.clear()


@dataclass(frozen=True, slots=True)
class Blocked:
    """Outputs of a guest that is blocked in a write."""

    cut: Callable[[int], None]

    def is_full(self) -> bool:
        return True


class Idle:
    """Outputs of a guest that has room to write."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)
        self.is_cut = threading.Event()

    def is_full(self) -> bool:
        self.looks.release()
        return False

    def cut(self, _nothing: int) -> None:
        self.is_cut.set()


def test_one_that_waits_for_a_processor_is_left_alone() -> None:
    """This thread sleeps while it is seen, as one does whose processor another process has."""
    outputs = Idle()
    with watching() as watch:
        watch.enter(outputs)  # type: ignore[arg-type]
        assert all(outputs.looks.acquire(timeout=PATIENCE) for _ in range(20))
        assert watch.leave() is None
    assert not outputs.is_cut.is_set()


def test_one_that_works_is_cut_off() -> None:
    outputs = Idle()
    with watching() as watch:
        watch.enter(outputs)  # type: ignore[arg-type]
        while not outputs.is_cut.is_set():
            pass
        worked = watch.leave()
    assert worked is not None
    assert TIME_SLICE / 2 < worked < 1


class _Counts:
    """An engine that says when it begins an epoch."""

    def __init__(self, engine: wasmtime.Engine, is_asked: threading.Event) -> None:
        self._engine = engine
        self._is_asked = is_asked

    def increment_epoch(self) -> None:
        self._engine.increment_epoch()
        self._is_asked.set()


class _SetFirst(threading.Event):
    """Is cleared by one who was about to when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()
        self._was_set = threading.Event()

    def set(self) -> None:
        super().set()
        self._was_set.set()

    def clear(self) -> None:
        self.is_awaited.set()
        assert self._was_set.wait(PATIENCE)
        super().clear()


@pytest.mark.parametrize("moment", ["at once", "about to rest", "at rest"])
def test_the_end(moment: str) -> None:
    watch = Watchdog(compiler().engine)
    if moment == "about to rest":
        watch._is_needed = needed = _SetFirst()
    watch.start()
    if moment == "about to rest":
        assert needed.is_awaited.wait(PATIENCE)
    if moment == "at rest":
        wait_until(lambda: is_parked(watch))
    closing = threading.Thread(target=watch.close, daemon=True)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()


@pytest.mark.usefixtures("nervous")
def test_nobody_is_taken_for_another() -> None:
    """Some leave at once, some in the moment of a look, some after it."""
    seen: list[tuple[int, int]] = []
    inside = [-1]
    chance = random.Random(7)

    with watching() as watch:
        for turn in range(TURNS):
            count = len(seen)
            inside[0] = turn
            watch.enter(Blocked(lambda _, turn=turn: seen.append((turn, inside[0]))))  # type: ignore[arg-type, misc]
            if turn % 10 == 0:
                wait_until(lambda count=count: len(seen) > count)  # type: ignore[misc]
            else:
                for _ in range(chance.randrange(2000)):
                    pass
            was_cut = watch.leave() is not None
            inside[0] = -1
            assert was_cut == (len(seen) > count)
    assert len(seen) >= TURNS / 10
    assert [(turn, other) for turn, other in seen if turn != other] == []


QUICK, SLOW = 0.0005, 0.0006
"""Seconds of processor time of a guest on a thread."""
HELD, HELD_LONG = 2 * TIME_SLICE, 5 * TIME_SLICE
"""Seconds for which a guest held up the others."""
FIRST = 8
"""Quick guests in a row that are asked for at first."""
MOST = FIRST**7


def policy(*runs: float) -> InlinePolicy:
    """The policy of a module whose guests have run on threads for so many seconds."""
    one = InlinePolicy()
    for seconds in runs:
        one.count_thread_run(seconds)
    return one


def proof(one: InlinePolicy) -> int:
    """How many quick guests it takes until the module is trusted, which it is not now."""
    count = 0
    while not one.is_allowed:
        one.count_thread_run(QUICK)
        count += 1
    return count


@pytest.mark.parametrize(
    ("runs", "is_allowed"),
    [
        ([], False),
        ([QUICK] * 7, False),
        ([QUICK] * 8, True),
        ([0.0] * 8, True),
        ([SLOW] * 100, False),
        ([*[QUICK] * 7, SLOW, *[QUICK] * 7], False),
        ([*[QUICK] * 7, SLOW, *[QUICK] * 8], True),
        ([*[QUICK] * 8, SLOW], True),
    ],
    ids="new|seven|eight|no time at all|slow|one is slow|then eight|slow on a thread once trusted".split("|"),
)
def test_trust(runs: list[float], is_allowed: bool) -> None:
    assert policy(*runs).is_allowed == is_allowed


@pytest.mark.parametrize(
    ("held", "proofs"),
    [
        ([HELD], [64]),
        ([HELD] * 3, [64, 512, 4096]),
        ([HELD_LONG], [4096]),
        ([HELD_LONG, HELD], [4096, 8 * 4096]),
        ([HELD_LONG, HELD_LONG, HELD_LONG], [4096, MOST, MOST]),
    ],
    ids="once|three times|long|long and once more|long and long".split("|"),
)
def test_a_guest_that_holds_up_the_others(held: list[float], proofs: list[int]) -> None:
    one = policy(*[QUICK] * FIRST)
    asked = []
    for seconds in held:
        one.count_interruption(seconds)
        assert not one.is_allowed
        asked.append(proof(one))
    assert asked == proofs


def test_what_was_quick_before_counts_no_more() -> None:
    one = policy(*[QUICK] * (FIRST + 7))
    one.count_interruption(HELD)
    assert proof(one) == 64


@pytest.mark.parametrize(("ends", "expected"), [(511, 8 * 512), (512, 512), (512 + 64, 64), (512 + 64 + 8, 64)])
def test_guests_that_end_in_time_are_credited(ends: int, expected: int) -> None:
    one = policy(*[QUICK] * FIRST)
    for _ in range(2):
        one.count_interruption(HELD)
        proof(one)
    for _ in range(ends):
        one.count_inline_run()
    assert one.is_allowed
    one.count_interruption(HELD)
    assert proof(one) == expected
