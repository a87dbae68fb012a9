"""The exit codes of guests, by `proc_exit` or as the entrypoint's result, on both backends."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, invocation, run
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext, Unwind
from wagi_gateway.sandbox.proc_exit import proc_exit
from wagi_gateway.sandbox.sandbox import Sandbox

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


def returns(code: int) -> str:
    """A guest that prints, and whose entrypoint returns an i32."""
    result = f'(func (export "_start") (result i32) (call $print) (i32.const {code}))'
    return guests.says(b"output").replace('(func (export "_start")', f"{result} (func $print")


@pytest.mark.parametrize(("code", "expected"), CODES)
def test_the_result_of_an_entrypoint_is_its_code(code: int, expected: int) -> None:
    output, guest = run(invocation(returns(code)))
    assert output == b"output"
    assert guest.outcome
    assert (guest.outcome.kind, guest.outcome.code) == ("exit", expected)


def test_results_of_many_runs_inline() -> None:
    """Each guest has a result of its own, on the event loop's thread too (C API backend)."""
    given = [invocation(returns(code)) for code in (7, 0, 300)]

    async def main() -> list[tuple[int, str]]:
        async with Sandbox(compiler().engine) as sandbox:
            found: list[tuple[int, str]] = []
            for number in range(60):
                ended = asyncio.Event()
                guest = sandbox.start(given[number % 3], on_end=lambda _, ended=ended: ended.set())  # type: ignore[misc]
                await asyncio.wait_for(ended.wait(), 30)
                assert guest.outcome
                found.append((guest.outcome.code, guest.executor))
            return found

    found = asyncio.run(main())
    assert [code for code, _ in found] == [7, 0, 44] * 20
    assert ("inline" in {executor for _, executor in found}) == choose().can_run_inline


def test_a_result_before_the_entrypoint_is_no_code() -> None:
    wat = """(module (func (export "_initialize") (result i32) (unreachable)) (func (export "_start")))"""
    assert run(invocation(wat))[1].failure() is None
