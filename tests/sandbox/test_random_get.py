"""The WASI function `random_get` without a guest: its bounds, and the checks between its pieces."""

from __future__ import annotations

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext, Unwind
from wagi_gateway.sandbox.memory import Memory
from wagi_gateway.sandbox.random_get import random_get

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

SUCCESS, FAULT = 0, 21
SIZE = 256 * 1024


def guest(memory: Memory | None) -> ExecutionContext:
    context = ExecutionContext(invocation(guests.HELLO))
    context.memory = memory
    return context


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 32), (0, SIZE), (1, 65536), (1, 65537), (100, 131072), (SIZE - 32, 32)],
    ids=["few", "all", "a piece", "a piece and a byte", "two pieces", "at the end"],
)
def test_all_bytes_and_no_others_are_random(start: int, size: int) -> None:
    context = guest(memory := BytesMemory(SIZE))
    assert random_get(context, start, size) == SUCCESS
    data = memory.read(0, SIZE)
    assert not any(data[:start])
    assert not any(data[start + size :])
    assert all(any(data[offset : offset + 16]) for offset in range(start, start + size - 15, 16))


def test_numbers_differ() -> None:
    context = guest(memory := BytesMemory(32))
    random_get(context, 0, 16)
    random_get(context, 16, 16)
    assert memory.read(0, 16) != memory.read(16, 16)


@pytest.mark.parametrize(("start", "size"), [(0, 0), (SIZE, 0)])
def test_nothing(start: int, size: int) -> None:
    assert random_get(guest(BytesMemory(SIZE)), start, size) == SUCCESS


@pytest.mark.parametrize(
    ("start", "size"), [(SIZE, 1), (SIZE - 1, 2), (SIZE + 1, 0), (0, 2**32 - 1), (2**32 - 1, 1), (2**32 - 1, 2**32 - 1)]
)
def test_beyond_memory(start: int, size: int) -> None:
    context = guest(memory := BytesMemory(SIZE))
    assert random_get(context, start, size) == FAULT
    assert not any(memory.read(0, SIZE))


def test_without_memory() -> None:
    assert random_get(guest(None), 0, 16) == FAULT


def test_the_end_of_the_guest_is_checked_after_each_piece() -> None:
    context = guest(memory := BytesMemory(SIZE))
    context.stop("shutdown")
    with pytest.raises(Unwind):
        random_get(context, 0, SIZE)
    assert not any(memory.read(65536, SIZE - 65536))
