"""A call of a host function raises Unwind alone, whatever the function does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext, Unwind, current
from wagi_gateway.sandbox.host import call

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
FAILED = 21


@pytest.fixture
def guest() -> Iterator[ExecutionContext]:
    """Makes an invocation the current one of this thread."""
    context = current.context = ExecutionContext(invocation(guests.HELLO))
    yield context
    current.context = None


def add(context: ExecutionContext, *arguments: int) -> int:
    assert context is current.context
    return sum(arguments)


def divide(_context: ExecutionContext, dividend: int, divisor: int) -> int:
    return dividend // divisor


def unwind(_context: ExecutionContext) -> int:
    raise Unwind


@pytest.mark.usefixtures("guest")
def test_the_result() -> None:
    assert call(add, [1, 2], FAILED) == 3


@pytest.mark.usefixtures("guest")
def test_a_function_that_raises_fails(caplog: pytest.LogCaptureFixture) -> None:
    assert call(divide, [1, 0], FAILED) == FAILED
    assert "a host function failed" in caplog.text


@pytest.mark.usefixtures("guest")
def test_unwinding_passes() -> None:
    with pytest.raises(Unwind):
        call(unwind, [], FAILED)


def test_no_call_of_a_guest_that_has_to_end(guest: ExecutionContext) -> None:
    guest.stop("shutdown")
    with pytest.raises(Unwind):
        call(divide, [1, 0], FAILED)


def test_without_a_guest_it_fails() -> None:
    assert call(add, [1, 2], FAILED) == FAILED
