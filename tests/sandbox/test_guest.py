"""A guest ends inline as it does on a thread."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.conftest import wait_until
from tests.support import guests
from tests.support.inline_guests import (
    AGAIN,
    ARGS_GET,
    BOTH_OUTPUTS,
    CLOCK,
    ENVIRON,
    HELLO,
    INITIALIZES,
    INLINE_ALONE,
    MIB,
    SAYS,
    STARTS,
    TIMEOUT,
    Ended,
    ModuleUnderTest,
    burns,
    run,
    run_inline,
    with_sandbox,
)
from wagi_gateway.sandbox.sandbox import Sandbox

pytestmark = [INLINE_ALONE, pytest.mark.parametrize("path", ["hot"], indirect=True)]


# The choice between inline and a thread


def test_a_module_runs_inline_after_fast_runs() -> None:
    async def test(sandbox: Sandbox) -> tuple[Ended, Ended]:
        module = ModuleUnderTest(guests.if_argument(""))
        return await run(sandbox, module), await run_inline(sandbox, module)

    first, later = with_sandbox(test)
    assert not first.was_inline
    assert later.was_inline
    assert first.end == later.end == (HELLO, b"", "exit", 0, "", None)


CALLS_OUT = '(import "wasi_experimental_http" "close" (func (param i32) (result i32)))'


@pytest.mark.parametrize(
    ("wat", "given"),
    [
        (f'(module {CALLS_OUT} (memory (export "memory") 1) (func (export "_start")))', {}),
        (f'(module (memory (export "memory") 1) (func (export "_start") {"(nop)" * 140_000}))', {}),
        (guests.NO_OUTPUT, {"volumes": ((b"/tmp", b"/tmp", False),)}),
        (guests.NO_OUTPUT, {"stdin": 0}),
    ],
    ids=["calls out", "long function", "volume", "spooled body"],
)
def test_a_guest_that_could_block_never_runs_inline(wat: str, given: dict[str, object]) -> None:
    async def test(sandbox: Sandbox) -> list[bool]:
        runs: list[bool] = []
        while len(runs) < 50:
            invocation = ModuleUnderTest(wat).invocation([], has_input=False)
            for name, value in given.items():
                invocation = replace(invocation, **{name: value})  # type: ignore[arg-type]
            guest = sandbox.start(invocation)
            runs.append(guest.outcome is not None)
            await guest.read()
            guest.release()
        return runs

    assert not any(with_sandbox(test))


# Ends


def variables(sizes: str, get: str) -> str:
    """Instructions that print all arguments or variables."""
    return f"""(drop (call {sizes} (i32.const 16) (i32.const 20)))
     (drop (call {get} (i32.const 1024) (i32.const 65536)))
     (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 20)))"""


def reads(body: bytes) -> dict[str, object]:
    """A guest that prints the length of its standard input in bytes, and the last four bytes."""
    return {"wat": guests.if_argument("(call $read)", pages=3, fields=guests.READS), "stdin": body}


ENDS: dict[str, dict[str, object]] = {
    "returns": {"wat": guests.if_argument("return")},
    "exits 0": {"wat": guests.if_argument("(call $exit (i32.const 0))", fields=guests.PROC_EXIT)},
    "exits 7": {"wat": guests.if_argument("(call $exit (i32.const 7))", fields=guests.PROC_EXIT)},
    "prints and exits": {
        "wat": guests.if_argument(f"{BOTH_OUTPUTS} (call $exit (i32.const 1))", fields=guests.PROC_EXIT)
    },
    "unreachable": {"wat": guests.if_argument("unreachable")},
    "prints and traps": {"wat": guests.if_argument(f"{BOTH_OUTPUTS} unreachable")},
    "out of bounds": {"wat": guests.if_argument("(drop (i32.load (i32.const -1)))")},
    "division by zero": {"wat": guests.if_argument("(drop (i32.div_u (i32.const 1) (i32.const 0)))")},
    "stack overflow": {"wat": guests.if_argument("(call $again)", fields=AGAIN)},
    "memory": {
        "wat": guests.if_argument("(if (i32.eq (memory.grow (i32.const 99)) (i32.const -1)) (then unreachable))"),
        "memory": "1MiB",
    },
    "no such export": {"wat": guests.NO_OUTPUT, "entrypoint": b"absent"},
    "instantiated only": {"wat": guests.NO_OUTPUT, "entrypoint": None},
    "initializer": {"wat": INITIALIZES.format(fields="", instructions=SAYS)},
    "initializer traps": {"wat": INITIALIZES.format(fields="", instructions="unreachable")},
    "initializer exits": {
        "wat": INITIALIZES.format(fields=guests.PROC_EXIT, instructions="(call $exit (i32.const 3))")
    },
    "start function": {"wat": STARTS.format(fields="", instructions=SAYS)},
    "start function traps": {"wat": STARTS.format(fields="", instructions="unreachable")},
    "start function exits": {"wat": STARTS.format(fields=guests.PROC_EXIT, instructions="(call $exit (i32.const 3))")},
    "arguments": {
        "wat": guests.if_argument(variables("$args_sizes_get", "$args_get"), fields=ARGS_GET),
        "arguments": (b"one", b"", "zwölf".encode(), b"x" * 4000),
    },
    "arguments that are not UTF-8": {"wat": guests.if_argument(""), "arguments": (b"\xff",)},
    "environment": {
        "wat": guests.if_argument(variables("$environ_sizes_get", "$environ_get"), fields=ENVIRON),
        "environ": {b"N%d" % number: b"v" * number for number in range(100)},
    },
    "empty body": reads(b""),
    "small body": reads(b"body"),
    "1 MiB": reads(bytes(MIB - 4) + b"last"),
}


@pytest.mark.parametrize("given", ENDS.values(), ids=ENDS)
def test_the_same_end_inline_and_on_a_thread(given: dict[str, object]) -> None:
    async def test(sandbox: Sandbox) -> tuple[Ended, Ended]:
        module = ModuleUnderTest(**given)  # type: ignore[arg-type]
        on_thread, before = await run(sandbox, module, has_input=True), await run(sandbox, module)
        inline = await run_inline(sandbox, module)
        assert (await run(sandbox, module)).end == before.end
        return on_thread, inline

    on_thread, inline = with_sandbox(test)
    assert not on_thread.was_inline
    assert inline.end == on_thread.end


CLOSE = '(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))'


def test_a_guest_that_goes_on_without_a_client_is_not_reported_as_slow() -> None:
    """The response is over before the guest turns out slow: a client that leaves then does not stop the guest."""
    wat = guests.if_argument(f"(drop (call $close (i32.const 1))) {burns(200)}", fields=f"{CLOSE} {CLOCK}")

    async def test(sandbox: Sandbox) -> tuple[list[str], str | None]:
        slow: list[str] = []
        ended = asyncio.Event()
        invocation = ModuleUnderTest(wat).invocation([], has_input=True)
        guest = sandbox.start(invocation, on_slow=lambda: slow.append("slow"), on_end=lambda _: ended.set())
        wait_until(lambda: guest.has_closed_stdout)  # the event loop is blocked, and its timers with it
        assert guest.outcome is None
        assert await guest.read() == b""
        guest.release()
        await asyncio.wait_for(ended.wait(), TIMEOUT)
        return slow, guest.failure()

    assert with_sandbox(test) == ([], None)
