"""The callbacks of an invocation, and the messages of outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.invocation import Outcome

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
REACTOR = '(module (memory (export "memory") 1) (func (export "_initialize")) (func (export "_start")))'


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


@pytest.mark.parametrize(
    ("message", "trap"),
    [
        ("error while executing …\n\nCaused by:\n    wasm trap: interrupt", "interrupt"),
        ("error while executing …\n\nCaused by:\n    out of fuel", "out of fuel"),
        ("wasm trap: unreachable", "unreachable"),
        ("no words of a backtrace", "no words of a backtrace"),
        ("", ""),
    ],
)
def test_the_words_of_a_trap(message: str, trap: str) -> None:
    outcome = Outcome("trap", message=message)
    assert (outcome.trap, outcome.was_interrupted) == (trap, trap == "interrupt")


def test_an_exit_was_not_interrupted() -> None:
    assert not Outcome("exit", message="interrupt").was_interrupted
