"""A running guest's clock, its stop and its waits."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import _CALLS_PER_PAUSE, _HOST_CALL_PAUSE, ExecutionContext, Unwind

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

LONG = 30.0
"""Seconds, more than any wait of these tests takes."""


def begun(time: float = LONG) -> ExecutionContext:
    """The context of a guest whose clock runs."""
    context = ExecutionContext(invocation(guests.HELLO, time=time))
    context.begin()
    return context


@pytest.fixture
def context() -> Iterator[ExecutionContext]:
    context = begun()
    yield context
    context.end()


def test_the_deadline_stops(context: ExecutionContext) -> None:
    assert not context.must_stop()
    context.deadline = 0.0
    assert context.must_stop()
    assert context.stop_reason == "time"


def test_the_first_reason_counts(context: ExecutionContext) -> None:
    context.stop("disconnect")
    context.stop("shutdown")
    assert context.stop_reason == "disconnect"
    assert context.must_stop()


def test_a_wait_ends_at_the_deadline() -> None:
    context = begun(time=0.05)
    assert not context.wait(LONG)
    assert context.stop_reason == "time"
    context.end()


def test_a_wait_ends_with_its_seconds(context: ExecutionContext) -> None:
    assert not context.wait(0.01)
    assert context.stop_reason is None


def test_a_wait_ends_with_a_ready_descriptor(context: ExecutionContext) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert context.wait(LONG, reader, select.POLLIN)
    os.close(reader)
    os.close(writer)


def test_a_wake_before_the_wait_ends_the_wait(context: ExecutionContext) -> None:
    context.wake()
    assert context.wait(LONG)
    assert not context.wait(0.01)


def test_another_thread_wakes(context: ExecutionContext) -> None:
    context.wait(0.0)  # opens the descriptor
    is_waiting = threading.Event()

    def wake() -> None:
        assert is_waiting.wait(LONG)
        context.wake()

    thread = threading.Thread(target=wake)
    thread.start()
    is_waiting.set()
    assert context.wait(LONG)
    thread.join()


def test_no_wait_of_a_guest_that_has_to_stop(context: ExecutionContext) -> None:
    context.stop("shutdown")
    assert not context.wait(LONG)


def test_the_first_wait_is_reported_once(context: ExecutionContext) -> None:
    waits: list[None] = []
    context.on_wait = lambda: waits.append(None)
    for _ in range(2):
        context.wait(0.0)
    assert len(waits) == 1


def test_without_a_descriptor_the_guest_stops(context: ExecutionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "eventfd", refuse)
    assert not context.wait(LONG)
    assert context.stop_reason == "descriptors"


def test_host_calls_pause_now_and_then(context: ExecutionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for _ in range(10 * _CALLS_PER_PAUSE):
        context.count_host_calls()
    assert pauses == [_HOST_CALL_PAUSE] * 10


@pytest.mark.parametrize(
    ("running", "calls", "pauses"),
    [
        (1, [_CALLS_PER_PAUSE] * 2, [_HOST_CALL_PAUSE] * 2),
        (16, [_CALLS_PER_PAUSE], [_HOST_CALL_PAUSE * 16]),
        (10_000, [_CALLS_PER_PAUSE], [0.1]),
        (1, [_CALLS_PER_PAUSE - 1, 1, _CALLS_PER_PAUSE - 1], [_HOST_CALL_PAUSE]),
        (1, [10 * _CALLS_PER_PAUSE], [_HOST_CALL_PAUSE]),
    ],
    ids=["one guest", "sixteen guests", "very many guests", "calls of several", "one very long call"],
)
def test_a_pause_grows_with_the_running_guests(
    context: ExecutionContext, running: int, calls: list[int], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    context.running = range(running)
    for count in calls:
        context.count_host_calls(count)
    assert slept == pauses


def test_host_calls_of_an_inline_guest_do_not_pause(context: ExecutionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    context.is_inline = True
    for _ in range(10 * _CALLS_PER_PAUSE):
        context.count_host_calls()
    assert pauses == []


@pytest.mark.parametrize("end", ["stop", "interrupt", "deadline"])
def test_no_host_call_of_a_guest_that_has_to_end(context: ExecutionContext, end: str) -> None:
    context.raise_if_ending()
    if end == "stop":
        context.stop("shutdown")
    elif end == "interrupt":
        context.interrupt()
    else:
        context.deadline = 0.0
        context.must_stop()
    with pytest.raises(Unwind):
        context.count_host_calls()
    with pytest.raises(Unwind):
        context.raise_if_ending()


def test_an_interrupted_guest_was_not_stopped(context: ExecutionContext) -> None:
    context.interrupt()
    assert (context.is_ending, context.stop_reason, context.must_stop()) == (True, None, False)


def test_an_inline_guest_leaves_in_the_place_of_a_wait(context: ExecutionContext) -> None:
    context.is_inline = True
    with pytest.raises(Unwind):
        context.wait(LONG)
    assert (context.is_ending, context.stop_reason) == (True, None)


def test_a_wake_after_the_end_does_nothing() -> None:
    context = begun()
    context.wait(0.0)
    context.end()
    context.wake()
    context.end()
