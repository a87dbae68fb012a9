"""The callbacks of an invocation, and the messages of outcomes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support import guests
from tests.support.sandbox import invocation, run
from wagi_gateway.sandbox.invocation import Measurement, Outcome

HOT = pytest.mark.parametrize("path", ["hot"], indirect=True)
REACTOR = '(module (memory (export "memory") 1) (func (export "_initialize")) (func (export "_start")))'


@pytest.mark.parametrize("path", ["hot", "public"], indirect=True)
def test_a_measurement_has_the_moment_of_instantiation() -> None:
    given = invocation(guests.HELLO)
    given.measurement = Measurement(lambda _file: None)
    before = time.monotonic_ns()
    _, ended = run(given)
    assert before < given.measurement.instantiated_ns < time.monotonic_ns()
    assert ended.outcome is not None
    assert ended.outcome.memory == 2 * 65536


@HOT
@pytest.mark.parametrize(
    ("wat", "entrypoint", "expected"),
    [
        (guests.HELLO, b"_start", (b"_start",)),
        (guests.HELLO, None, ()),
        (REACTOR, b"other", (b"_initialize", b"other")),
        (REACTOR, None, ()),
    ],
    ids=["command", "instantiated only", "reactor", "reactor, instantiated only"],
)
def test_entrypoints(wat: str, entrypoint: bytes | None, expected: tuple[bytes, ...]) -> None:
    assert replace(invocation(wat), entrypoint=entrypoint).entrypoints == expected


@HOT
@pytest.mark.parametrize(
    ("message", "trap"),
    [
        ("interrupt", "interrupt"),
        ("out of bounds memory access (memory fault at wasm address 0x0)", "out of bounds memory access"),
        ("", ""),
    ],
)
def test_the_kind_of_a_trap(message: str, trap: str) -> None:
    outcome = Outcome("trap", message=message)
    assert (outcome.trap, outcome.was_interrupted) == (trap, trap == "interrupt")


@HOT
def test_an_exit_was_not_interrupted() -> None:
    assert not Outcome("exit", message="interrupt").was_interrupted
