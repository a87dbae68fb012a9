"""A call of a host function raises Unwind alone, whatever the function does."""

from __future__ import annotations

import time

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.compiler.externs import FunctionType, Import
from wagi_gateway.sandbox.context import _CALLS_PER_PAUSE, ExecutionContext, Unwind
from wagi_gateway.sandbox.host import call, missing_trap

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
FAILED = 21


@pytest.fixture
def guest() -> ExecutionContext:
    return ExecutionContext(invocation(guests.HELLO))


def add(_context: ExecutionContext, *arguments: int) -> int:
    return sum(arguments)


def divide(_context: ExecutionContext, dividend: int, divisor: int) -> int:
    return dividend // divisor


def unwind(_context: ExecutionContext) -> int:
    raise Unwind


def test_the_result(guest: ExecutionContext) -> None:
    assert call(guest, add, [1, 2], FAILED) == 3


def test_a_function_that_raises_fails(guest: ExecutionContext, caplog: pytest.LogCaptureFixture) -> None:
    assert call(guest, divide, [1, 0], FAILED) == FAILED
    assert "a host function failed" in caplog.text


def test_unwinding_passes(guest: ExecutionContext) -> None:
    with pytest.raises(Unwind):
        call(guest, unwind, [], FAILED)


def test_no_call_of_a_guest_that_has_to_end(guest: ExecutionContext) -> None:
    guest.stop("shutdown")
    with pytest.raises(Unwind):
        call(guest, divide, [1, 0], FAILED)


def test_a_guest_on_a_thread_pauses_now_and_then(guest: ExecutionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for _ in range(3 * _CALLS_PER_PAUSE):
        call(guest, add, (1, 2), FAILED)
    assert len(pauses) == 3


def test_the_name_of_a_missing_import_is_bounded() -> None:
    wanted = Import("m", "n" * 10_000, FunctionType((), ()))
    assert len(missing_trap(wanted)) < 250
