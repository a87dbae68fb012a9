"""`poll_oneoff` without a guest: its events, its errors and its bounds (WASI preview 1)."""

from __future__ import annotations

import struct
import time

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext, Unwind
from wagi_gateway.sandbox.memory import Memory
from wagi_gateway.sandbox.poll_oneoff import poll_oneoff

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

SUCCESS, BADF, FAULT, INVALID = 0, 8, 21, 28
CLOCK, FD_READ, FD_WRITE = 0, 1, 2
REALTIME, MONOTONIC, PROCESS = 0, 1, 2
MILLISECOND = 1_000_000


def clock(userdata: int, nanoseconds: int, clock_id: int = MONOTONIC, *, is_absolute: bool = False) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", userdata, CLOCK, clock_id, nanoseconds, 0, int(is_absolute))


def descriptor(userdata: int, tag: int, number: int = 0) -> bytes:
    return struct.pack("<QB7xI28x", userdata, tag, number)


def poll(*subscriptions: bytes, limit: float = 20.0) -> tuple[int, list[tuple[int, int, int]]]:
    """The result, and the userdata, error number and type of each event."""
    memory = BytesMemory(65536)
    for number, subscription in enumerate(subscriptions):
        memory.write(48 * number, subscription)
    context = ExecutionContext(invocation(guests.HELLO, time=limit))
    context.begin()
    context.memory = memory
    result = poll_oneoff(context, 0, 32768, len(subscriptions), 65532)
    context.end()
    count = struct.unpack("<I", memory.read(65532, 4))[0]
    events = struct.iter_unpack("<QHB21x", memory.read(32768, 32 * count))
    return result, list(events)


@pytest.mark.parametrize(
    ("subscriptions", "events"),
    [
        ([clock(7, MILLISECOND)], [(7, SUCCESS, CLOCK)]),
        ([clock(7, MILLISECOND), clock(8, 10**12)], [(7, SUCCESS, CLOCK)]),
        ([clock(7, 1, REALTIME, is_absolute=True)], [(7, SUCCESS, CLOCK)]),
        ([clock(7, MILLISECOND, is_absolute=True)], [(7, SUCCESS, CLOCK)]),
        ([descriptor(9, FD_READ), clock(7, 10**12)], [(9, SUCCESS, FD_READ)]),
        ([descriptor(9, FD_WRITE, 1)], [(9, SUCCESS, FD_WRITE)]),
        ([clock(7, 10**12, PROCESS)], [(7, INVALID, CLOCK)]),
        ([descriptor(9, 3)], [(9, INVALID, 3)]),
    ],
    ids=(
        "clock|first of two clocks|absolute real time|absolute monotonic time|descriptor and clock|output|other clock"
        "|unknown type"
    ).split("|"),
)
def test_events(subscriptions: list[bytes], events: list[tuple[int, int, int]]) -> None:
    assert poll(*subscriptions) == (SUCCESS, events)


@pytest.mark.parametrize(
    ("tag", "number", "error", "ready"),
    [
        (FD_READ, 0, SUCCESS, 4),
        (FD_WRITE, 0, SUCCESS, 4),
        (FD_WRITE, 1, SUCCESS, 1),
        (FD_WRITE, 2, BADF, 0),
        (FD_READ, 3, BADF, 0),
        (FD_WRITE, 2**32 - 1, BADF, 0),
    ],
    ids="the unread body|write to it|output|closed|a file of a guest without files|no descriptor".split("|"),
)
def test_readiness(tag: int, number: int, error: int, ready: int) -> None:
    memory = BytesMemory(1024)
    memory.write(0, descriptor(9, tag, number))
    context = ExecutionContext(invocation(guests.HELLO, stdin=b"a body"))
    context.streams.read_stdin(2)
    context.streams.close(2)
    context.memory = memory
    assert poll_oneoff(context, 0, 512, 1, 1020) == SUCCESS
    assert struct.unpack("<QHB5xQ", memory.read(512, 24)) == (9, error, tag, ready)


def test_a_guest_on_the_event_loops_thread_does_not_sleep() -> None:
    context = ExecutionContext(invocation(guests.HELLO))
    context.is_inline, context.memory = True, BytesMemory(1024)
    context.memory.write(0, clock(7, 10**12))
    with pytest.raises(Unwind):
        poll_oneoff(context, 0, 512, 1, 1020)
    assert context.is_ending


def test_a_sleep_ends_with_the_guests_time() -> None:
    begin = time.monotonic()
    assert poll(clock(7, 3600 * 10**9), limit=0.05)[0] == SUCCESS
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("memory", "arguments", "result"),
    [
        (BytesMemory(64), [0, 0, 0, 0], INVALID),
        (BytesMemory(64), [0, 0, 129, 0], INVALID),
        (None, [0, 0, 1, 0], FAULT),
        (BytesMemory(64), [32, 0, 1, 0], FAULT),
        (BytesMemory(64), [0, 64, 1, 0], FAULT),
        (BytesMemory(64), [0, 0, 1, 61], FAULT),
        (BytesMemory(64), [2**32 - 1, 0, 1, 0], FAULT),
    ],
    ids="none|too many|no memory|subscriptions|events|count|end of the address space".split("|"),
)
def test_bounds(memory: Memory | None, arguments: list[int], result: int) -> None:
    context = ExecutionContext(invocation(guests.HELLO))
    context.memory = memory
    assert poll_oneoff(context, *arguments) == result
