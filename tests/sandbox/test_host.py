"""A call of a host function never raises, whatever the function does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext, current
from wagi_gateway.sandbox.host import Memory, OutOfBounds, call

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
MEMORY = BytesMemory(16)
FAILED = 21


@pytest.fixture
def guest() -> Iterator[None]:
    """Makes an invocation the current one of this thread."""
    current.context = ExecutionContext(invocation(guests.HELLO))
    yield
    current.context = None


def add(_context: ExecutionContext, memory: Memory | None, arguments: list[int]) -> int:
    assert memory is MEMORY
    return sum(arguments)


@pytest.mark.usefixtures("guest")
def test_the_result() -> None:
    assert call(add, lambda _: MEMORY, None, [1, 2], FAILED) == 3


@pytest.mark.usefixtures("guest")
def test_a_function_that_raises_fails(caplog: pytest.LogCaptureFixture) -> None:
    assert call(add, lambda _: None, None, [1, 2], FAILED) == FAILED
    assert "a host function failed" in caplog.text


def test_without_a_guest_it_fails() -> None:
    assert call(add, lambda _: MEMORY, None, [1, 2], FAILED) == FAILED


@pytest.mark.parametrize(
    ("start", "size", "fits"), [(0, 16, True), (16, 0, True), (16, 1, False), (2**32 - 1, 2, False)]
)
def test_the_ends_of_memory(start: int, size: int, fits: bool) -> None:
    if fits:
        MEMORY.write(start, MEMORY.read(start, size))
    else:
        with pytest.raises(OutOfBounds):
            MEMORY.check(start, size)
