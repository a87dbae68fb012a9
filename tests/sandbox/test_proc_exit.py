"""The exit codes of guests, by the WASI function `proc_exit`, on both backends."""

from __future__ import annotations

import pytest

from tests.support import guests
from tests.support.sandbox import invocation, run
from wagi_gateway.sandbox.context import ExecutionContext, Unwind
from wagi_gateway.sandbox.proc_exit import proc_exit

CODES = [
    *((code, code) for code in (0, 1, 2, 125, 126, 127, 128, 134, 254, 255)),
    *((256, 255), (257, 1), (512, 255), (-1, 255), (-2, 254), (-256, 255), (2**31, 255), (2**31 - 1, 255)),
]


@pytest.mark.parametrize(("code", "expected"), CODES)
def test_the_code_of_a_guest(code: int, expected: int) -> None:
    output, guest = run(invocation(guests.exits(code, b"output")))
    assert output == b"output"
    assert guest.outcome
    assert (guest.outcome.kind, guest.outcome.code) == ("exit", expected)
    assert guest.failure() == (f"the guest exited with code {expected}" if expected else None)


def test_all_codes_of_a_byte() -> None:
    for code in range(256):
        context = ExecutionContext(invocation(guests.HELLO))
        with pytest.raises(Unwind):
            proc_exit(context, code)
        assert context.exit_code == code


EXITS_IN_INITIALIZER = f"""(module {guests.FD_WRITE} {guests.PROC_EXIT} (memory (export "memory") 1)
 (func (export "_initialize") (call $exit (i32.const 130)) unreachable)
 (func (export "_start") unreachable))"""
EXITS_IN_START = f"""(module {guests.PROC_EXIT} (memory (export "memory") 1)
 (func $begin (call $exit (i32.const 131)) unreachable) (start $begin)
 (func (export "_start") unreachable))"""


@pytest.mark.parametrize(("wat", "code"), [(EXITS_IN_INITIALIZER, 130), (EXITS_IN_START, 131)])
def test_before_the_entrypoint(wat: str, code: int) -> None:
    assert run(invocation(wat))[1].failure() == f"the guest exited with code {code}"
