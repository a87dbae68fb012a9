"""Inline guests: a guest ends inline as it does on a thread, and none blocks the event loop for long.

A module runs inline after some fast runs on threads. Each guest of this file is therefore fast without input, and does
the work of the test if it has an argument.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import guests
from tests.support.sandbox import SETTINGS, compiler, define, warm
from wagi_gateway.compiler.compiler import Compiler, WarmModule
from wagi_gateway.compiler.engine import create_engine
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.inline import TIME_SLICE, InlinePolicy, Watchdog
from wagi_gateway.sandbox.invocation import Invocation, Outcome, StopReason
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sources.file import WasmSource

T = TypeVar("T")
MIB = 2**20
HELLO = guests.CONTENT_TYPE + b"hello\n"
HELD = 0.1
"""Seconds of processor time for which a guest may block the event loop; it is interrupted after some thousandths."""
BLOCKED = 5.0
"""Seconds of wall time, in which a busy machine interrupts a guest that is blocked in a write."""
TIMEOUT = 20.0

pytestmark = [
    pytest.mark.parametrize("path", ["hot"], indirect=True),
    pytest.mark.skipif(not choose().can_run_inline, reason="this wasmtime runs no guest inline"),
]


@dataclass(frozen=True, slots=True)
class Ended:
    """A guest that has ended."""

    output: bytes
    stderr: bytes
    outcome: Outcome
    failure: str | None
    guest: Guest
    policy: InlinePolicy
    was_inline: bool
    """Whether the guest ran to its end on the event loop's thread."""
    held: float
    """Seconds of processor time for which the guest blocked the event loop."""

    @property
    def end(self) -> tuple[bytes, bytes, str, int, str, str | None]:
        """The part of a result that is the same inline and on a thread."""
        outcome = self.outcome
        return self.output, self.stderr, outcome.kind, outcome.code, outcome.trap, self.failure


class ModuleUnderTest:
    """A module, and the input of its guests."""

    def __init__(
        self,
        wat: str,
        *,
        module: WarmModule | None = None,
        entrypoint: bytes | None = b"_start",
        arguments: tuple[bytes, ...] = (b"go",),
        environ: dict[bytes, bytes] | None = None,
        stdin: bytes = b"",
        **limits: object,
    ) -> None:
        """`arguments` and `stdin` are the input; a run without input has neither."""
        self._module = module or warm(wat)
        self._entrypoint = entrypoint
        self._arguments = arguments
        self._environ = environ or {b"A": b"b"}
        self._stdin = stdin
        self._limits = Limits.model_validate(limits)

    def invocation(self, stderr_lines: list[bytes], *, has_input: bool) -> Invocation:
        """The invocation of one run, which appends standard error to `stderr_lines`."""
        return Invocation(
            self._module,
            self._entrypoint,
            limits=self._limits,
            argv=[b"/x", *self._arguments] if has_input else [b"/x"],
            environ=self._environ,
            stdin=self._stdin if has_input else b"",
            on_stderr=stderr_lines.append,
        )


async def run(sandbox: Sandbox, module: ModuleUnderTest, *, has_input: bool = False) -> Ended:
    """Runs one guest to its end."""
    stderr_lines: list[bytes] = []
    ended = asyncio.Event()
    invocation = module.invocation(stderr_lines, has_input=has_input)
    started, worked = time.perf_counter(), time.thread_time()
    guest = sandbox.start(invocation, on_end=lambda _: ended.set())
    held, was_inline = time.thread_time() - worked, guest.outcome is not None
    assert time.perf_counter() - started < BLOCKED
    pieces = []
    while data := await guest.read():
        pieces.append(data)
    guest.release()
    await asyncio.wait_for(ended.wait(), TIMEOUT)
    assert guest.outcome
    policy = sandbox.inline_policy(invocation)
    output, stderr = b"".join(pieces), b"".join(stderr_lines)
    return Ended(output, stderr, guest.outcome, guest.failure(), guest, policy, was_inline, held)


async def allow_inline(sandbox: Sandbox, *modules: ModuleUnderTest) -> None:
    """Runs guests without input until their modules may run inline."""
    for module in modules:
        while not (await run(sandbox, module)).policy.is_allowed:
            pass


async def run_allowed(sandbox: Sandbox, module: ModuleUnderTest) -> Ended:
    """Runs a guest with input, whose module may run inline."""
    await allow_inline(sandbox, module)
    return await run(sandbox, module, has_input=True)


async def run_inline(sandbox: Sandbox, module: ModuleUnderTest) -> Ended:
    """Runs a guest with input, again until one has run inline to its end: a busy processor makes a fast guest slow."""
    while not (ended := await run_allowed(sandbox, module)).was_inline:
        pass
    return ended


@asynccontextmanager
async def opened(engine: Compiler | None = None) -> AsyncIterator[Sandbox]:
    async with asyncio.timeout(2 * TIMEOUT), Sandbox((engine or compiler()).engine) as sandbox:
        yield sandbox


def with_sandbox(test: Callable[[Sandbox], Coroutine[None, None, T]]) -> T:
    """The result of `test` with a new sandbox."""

    async def main() -> T:
        async with opened() as sandbox:
            return await test(sandbox)

    return asyncio.run(main())


def run_alone(wat: str, **given: object) -> Ended:
    """Runs a guest with input in a sandbox of its own, once its module may run inline."""
    return with_sandbox(lambda sandbox: run_allowed(sandbox, ModuleUnderTest(wat, **given)))  # type: ignore[arg-type]


def run_restarted(wat: str, **given: object) -> Ended:
    """Like `run_alone`, again until the guest is restarted on a thread: the watchdog of a busy machine may be late."""

    async def test(sandbox: Sandbox) -> Ended:
        module = ModuleUnderTest(wat, **given)  # type: ignore[arg-type]
        while (ended := await run_allowed(sandbox, module)).was_inline:
            pass
        return ended

    return with_sandbox(test)


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

ARGS_GET = '(import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))'
ENVIRON = """
 (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))"""
IF_ARGUMENT = """(drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
 (br_if 0 (i32.eq (i32.load (i32.const 16)) (i32.const 1)))"""
AGAIN = "(func $again (call $again))"
REACTOR = f"""(module {guests.FD_WRITE} {guests.ARGS_SIZES_GET} {{fields}} (memory (export "memory") 1)
 (data (i32.const 512) "initialized\\n")
 {guests.WRITE}
 (func ${{name}} {IF_ARGUMENT} {{instructions}})
 (func (export "_start") (call $write (i32.const 1) (i32.const 512) (i32.const 12))))"""
INITIALIZES = REACTOR.replace("(func ${name}", '(func $initialize (export "_initialize")')
STARTS = REACTOR.replace("${name}", "$begin").replace("(func (export", "(start $begin) (func (export")
SAYS = "(call $write (i32.const 1) (i32.const 512) (i32.const 12))"
BOTH_OUTPUTS = "(call $write (i32.const 2) (i32.const 512) (i32.const 12)) " + SAYS


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


# Slow guests

CLOCK = '(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
NOW = "(drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))"


def burns(milliseconds: int) -> str:
    """Instructions that run for this time on any machine; the guest needs CLOCK."""
    return f"""{NOW} (i64.store (i32.const 32) (i64.add (i64.load (i32.const 24)) (i64.const {milliseconds * 10**6})))
     (loop $burn {NOW} (br_if $burn (i64.lt_u (i64.load (i32.const 24)) (i64.load (i32.const 32)))))"""


MS = int(TIME_SLICE * 1000)
LONG = burns(10 * MS)
FOREVER = "(loop $forever (br $forever))"


def test_a_guest_that_computes_is_restarted_on_a_thread() -> None:
    async def test(sandbox: Sandbox) -> tuple[Ended, list[Ended]]:
        slow, fast = ModuleUnderTest(guests.if_argument(FOREVER), time=0.5), ModuleUnderTest(guests.if_argument(""))
        await allow_inline(sandbox, slow, fast)
        running = asyncio.create_task(run(sandbox, slow, has_input=True))
        others = []
        while not running.done():
            others.append(await run(sandbox, fast))
            await asyncio.sleep(0)
        return running.result(), others

    slow, others = with_sandbox(test)
    assert not slow.was_inline
    assert slow.held < HELD
    assert slow.end == (b"", b"", "stopped", 0, "time", "the guest ran into limits.time (0.5 s)")
    assert not slow.policy.is_allowed
    assert len(others) > 50
    assert {other.end for other in others} == {(HELLO, b"", "exit", 0, "", None)}


@pytest.mark.parametrize("reason", ["disconnect", "shutdown"])
def test_a_restarted_guest_is_stopped(reason: StopReason) -> None:
    async def test(sandbox: Sandbox) -> str | None:
        module = ModuleUnderTest(guests.if_argument(FOREVER))
        await allow_inline(sandbox, module)
        ended = asyncio.Event()
        guest = sandbox.start(module.invocation([], has_input=True), on_end=lambda _: ended.set())
        assert guest.outcome is None
        guest.stop(reason)
        assert await guest.read() == b""
        guest.release()
        await asyncio.wait_for(ended.wait(), TIMEOUT)
        return guest.stop_reason

    assert with_sandbox(test) == reason


def test_the_sandbox_is_closed_while_guests_are_restarted() -> None:
    async def main() -> list[Guest]:
        async with opened() as sandbox:
            loops = [
                ModuleUnderTest(guests.if_argument(f"(drop (i32.const {number})) {FOREVER}")) for number in range(3)
            ]
            await allow_inline(sandbox, *loops)
            return [sandbox.start(module.invocation([], has_input=True)) for module in loops]

    running = asyncio.run(main())
    assert [guest.failure() for guest in running] == ["the server is stopping"] * 3


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("", (HELLO, b"", "exit", 0, "", None)),
        ("unreachable", (b"", b"", "trap", 0, "wasm `unreachable` instruction executed", ...)),
        ("(call $exit (i32.const 7))", (b"", b"", "exit", 7, "", "the guest exited with code 7")),
        (f"{BOTH_OUTPUTS} {LONG} unreachable", (HELLO[:12], HELLO[:12], "trap", 0, ..., ...)),
        ("(call $again)", (b"", b"", "trap", 0, "call stack exhausted", "trap: call stack exhausted")),
    ],
    ids="prints|traps|exits|prints, burns and traps|stack overflow".split("|"),
)
def test_the_end_of_a_restarted_guest(then: str, expected: tuple[object, ...]) -> None:
    ended = run_restarted(guests.if_argument(f"{LONG} {then}", fields=f"{CLOCK} {guests.PROC_EXIT} {AGAIN}"))
    assert ended.held < HELD
    assert all(wanted in (found, ...) for wanted, found in zip(expected, ended.end, strict=True))


@pytest.mark.parametrize("where", ["initializer", "start function"])
def test_a_guest_is_restarted_before_its_entrypoint(where: str) -> None:
    wat = {"initializer": INITIALIZES, "start function": STARTS}[where]
    ended = run_restarted(wat.format(fields=CLOCK, instructions=f"{LONG} {SAYS}"))
    assert ended.end == (b"initialized\n" * 2, b"", "exit", 0, "", None)


RANDOM = '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))'
SLEEPS = """(i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (i64.const 20000000))
 (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300)))"""
IN_A_ROW = "(drop (call $fd_write (i32.const 1) (i32.const 256) (i32.const 1024) (i32.const 8)))" * 2000


@pytest.mark.parametrize(
    ("fields", "instructions", "pages"),
    [
        (guests.POLL, SLEEPS, 2),
        (RANDOM, f"(drop (call $random (i32.const 65536) (i32.const {200 * MIB})))", 201 * 16),
        ("", IN_A_ROW, 2),
    ],
    ids=["sleeps", "random numbers", "many calls in a row"],
)
def test_a_host_call_that_blocks_is_restarted_on_a_thread(fields: str, instructions: str, pages: int) -> None:
    ended = run_restarted(guests.if_argument(instructions, fields=fields, pages=pages))
    assert ended.held < HELD
    assert ended.end == (HELLO, b"", "exit", 0, "", None)


def test_time_is_counted_from_the_beginning() -> None:
    ended = run_alone(guests.if_argument(FOREVER), time=0.001)  # the time is over before a restart
    assert ended.failure == "the guest ran into limits.time (0.001 s)"
    assert ended.held < HELD


def test_many_guests_are_restarted_at_once() -> None:
    """The whole output of each guest is its own."""

    async def test(sandbox: Sandbox) -> list[Ended]:
        prints = (
            "(i32.store (i32.const 600) (i32.const {0})) (call $write (i32.const {1}) (i32.const 600) (i32.const 4))"
        )
        slow = [
            ModuleUnderTest(
                guests.if_argument(
                    f"{prints.format(n, 1)} {prints.format(n, 2)} {LONG} {prints.format(n, 1)}", fields=CLOCK
                )
            )
            for n in range(SETTINGS.slots)
        ]
        await allow_inline(sandbox, *slow)
        return await asyncio.gather(*(run(sandbox, module, has_input=True) for module in slow))

    for number, ended in enumerate(with_sandbox(test)):
        token = struct.pack("<I", number)
        assert ended.end == (token * 2 + HELLO, token, "exit", 0, "", None)
        assert ended.held < HELD


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_as_many_guests_are_restarted_as_the_pool_has_slots(slots: int) -> None:
    small = Compiler(create_engine(replace(SETTINGS, slots=slots))[0], define)
    numbers = itertools.count()

    def module() -> ModuleUnderTest:
        wat = guests.if_argument(f"(drop (i32.const {next(numbers)})) {LONG}", fields=CLOCK)
        return ModuleUnderTest(wat, module=small.load(WasmSource("guest.wat", wat.encode(), wat)))

    async def main() -> list[Ended]:
        ended = []
        async with opened(small) as sandbox:
            for _ in range(4):
                slow = [module() for _ in range(slots)]
                await allow_inline(sandbox, *slow)
                ended += await asyncio.gather(*(run(sandbox, one, has_input=True) for one in slow))
        return ended

    assert {ended.end for ended in asyncio.run(main())} == {(HELLO, b"", "exit", 0, "", None)}


# Output: no reader runs while a guest runs inline


def prints(pages: int, descriptor: int, way: str) -> str:
    """Instructions that mark each page of memory with its number and print them, in one call or one by one."""
    mark = f"""(loop $mark (i32.store (i32.mul (local.get $n) (i32.const 65536)) (local.get $n))
     (br_if $mark (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {pages + 1}))))"""
    at_once = f"(call $write (i32.const {descriptor}) (i32.const 65536) (i32.const {pages * 65536}))"
    one_by_one = f"""(local.set $n (i32.const 1)) (loop $print
     (call $write (i32.const {descriptor}) (i32.mul (local.get $n) (i32.const 65536)) (i32.const 65536))
     (br_if $print (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {pages + 1}))))"""
    write = at_once if way == "at once" else one_by_one
    return f"(func $print (local $n i32) (local.set $n (i32.const 1)) {mark} {write})"


def printed(pages: int) -> bytes:
    """The output of `prints`."""
    return b"".join(struct.pack("<I", number + 1) + bytes(65532) for number in range(pages))


@pytest.mark.parametrize("way", ["at once", "in pieces"])
@pytest.mark.parametrize("pages", [16, 256], ids=["1 MiB", "16 MiB"])
def test_much_output(pages: int, way: str) -> None:
    errors = "(call $write (i32.const 2) (i32.const 512) (i32.const 12))"
    wat = guests.if_argument(f"{errors} (call $print) {errors}", pages=pages + 1, fields=prints(pages, 1, way))
    ended = run_alone(wat)
    assert ended.output == printed(pages) + HELLO
    assert ended.stderr == HELLO[:12] * 2
    assert ended.failure is None
    assert not ended.policy.is_allowed


@pytest.mark.parametrize("way", ["at once", "in pieces"])
@pytest.mark.parametrize("pages", [1, 16, 64])
def test_much_standard_error(pages: int, way: str) -> None:
    ended = run_alone(
        guests.if_argument("(call $print)", pages=pages + 1, fields=prints(pages, 2, way)), stderr=100_000
    )
    # A line costs 256 bytes besides its length; the first newline is the byte of page number 10.
    limit = min(pages * 65536, 100_000)
    assert (ended.output, ended.failure) == (HELLO, None)
    assert ended.stderr == printed(pages)[:limit]
    assert ended.guest.stderr_dropped == pages * 65536 - limit


def test_more_output_than_is_allowed() -> None:
    ended = run_alone(guests.if_argument("(call $print)", pages=17, fields=prints(16, 1, "at once")), stdout=100_000)
    assert ended.output == printed(16)[:100_000]
    assert ended.failure == "the guest printed more than limits.stdout (100000 bytes)"


@pytest.mark.parametrize(
    ("repeat", "limits", "reason"),
    [
        ("(call $write (i32.const 1) (i32.const 0) (i32.const 65536))", {"stdout": 4 * MIB}, "stdout"),
        ("(call $write (i32.const 1) (i32.const 0) (i32.const 1))", {"stdout": 50_000}, "stdout"),
        ("(call $write (i32.const 2) (i32.const 0) (i32.const 65536))", {"time": 0.3}, "time"),
        ("(call $write (i32.const 2) (i32.const 0) (i32.const 1))", {"time": 0.3}, "time"),
    ],
    ids="output|output in crumbs|errors|errors in crumbs".split("|"),
)
def test_output_without_end(repeat: str, limits: dict[str, object], reason: str) -> None:
    ended = run_alone(guests.if_argument(f"(loop $forever {repeat} (br $forever))"), **limits)
    assert ended.guest.stop_reason == reason
    assert ended.held < HELD


def test_output_before_an_endless_loop() -> None:
    async def test(sandbox: Sandbox) -> bytes:
        say = f"(call $write (i32.const 1) (i32.const 512) (i32.const {len(HELLO)}))"
        module = ModuleUnderTest(guests.if_argument(f"{say} {FOREVER}"))
        await allow_inline(sandbox, module)
        guest = sandbox.start(module.invocation([], has_input=True))
        data = await guest.read()
        assert guest.outcome is None
        guest.release()
        return data

    assert with_sandbox(test) == HELLO


def test_no_output_of_a_guest_is_anothers() -> None:
    async def test(sandbox: Sandbox) -> None:
        say = f"(call $write (i32.const 1) (i32.const 512) (i32.const {len(HELLO)}))"
        leaves = ModuleUnderTest(guests.if_argument(f"{say} {LONG} {say}", fields=CLOCK))
        fast = ModuleUnderTest(guests.if_argument(""))
        await allow_inline(sandbox, fast)
        for reads in (0, 1):
            await allow_inline(sandbox, leaves)
            guest = sandbox.start(leaves.invocation([], has_input=True))
            for _ in range(reads):
                await guest.read()
            guest.release()
            for _ in range(20):
                assert (await run(sandbox, fast)).output == HELLO

    with_sandbox(test)


# Long operations, within which wasmtime checks no epoch

FILL = f"(memory.fill (i32.const 1024) (i32.const 7) (i32.const {200 * MIB}))"


@pytest.mark.parametrize(
    "instructions",
    [
        FILL,
        f"{FILL} return",
        f"{FILL} {FOREVER}",
        f"(call $write (i32.const 1) (i32.const 1024) (i32.const {60 * MIB})) return",
        f"(call $write (i32.const 2) (i32.const 1024) (i32.const {60 * MIB})) return",
    ],
    ids="fill|fill and end|fill and go on|print|print errors".split("|"),
)
def test_a_long_call_is_restarted(instructions: str) -> None:
    async def test(sandbox: Sandbox) -> None:
        module = ModuleUnderTest(guests.if_argument(instructions, pages=201 * 16), time=0.5)
        ended = await run_allowed(sandbox, module)
        assert not ended.was_inline
        assert ended.held < HELD
        for _ in range(50):
            assert not (await run(sandbox, module)).policy.is_allowed

    with_sandbox(test)


def test_many_calls_in_a_row_end_soon() -> None:
    """No epoch check lies between the calls, but a write fails at once after its output is cut off."""
    writes = "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) drop " * 1000
    wat = guests.if_argument(
        f"(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const {60 * MIB})) {writes}",
        pages=61 * 16,
    )
    ended = run_alone(wat, stdout=MIB)
    assert ended.held < HELD
    assert ended.guest.stop_reason == "stdout"


# Signals: Python handles them on the event loop's thread


class _Interrupt(Exception):
    """The exception that a signal handler raises."""


def _interrupt(*_: object) -> None:
    raise _Interrupt


def test_the_handler_of_a_signal_raises_while_a_guest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest is lost, and the next one runs."""
    wat = guests.if_argument(f"{FILL} {FOREVER}", pages=201 * 16)
    own = Compiler(create_engine(SETTINGS)[0], define)  # an engine of its own, because one instance of its pool is lost
    module = ModuleUnderTest(wat, module=own.load(WasmSource("guest.wat", wat.encode(), wat)))
    is_running = threading.Event()
    main_thread = threading.get_ident()

    def enter(watchdog: Watchdog, context: ExecutionContext) -> None:
        plain_enter(watchdog, context)
        is_running.set()

    def send() -> None:
        is_running.wait(TIMEOUT)
        signal.pthread_kill(main_thread, signal.SIGUSR1)

    async def main() -> tuple[Ended, Ended]:
        async with opened(own) as sandbox:
            await allow_inline(sandbox, module)
            with monkeypatch.context() as patch:
                patch.setattr(Watchdog, "enter", enter)
                threading.Thread(target=send).start()
                lost = await run(sandbox, module, has_input=True)
            return lost, await run(sandbox, module)

    plain_enter = Watchdog.enter
    plain_handler = signal.signal(signal.SIGUSR1, _interrupt)
    try:
        lost, later = asyncio.run(main())
    finally:
        signal.signal(signal.SIGUSR1, plain_handler)
    assert (lost.outcome.kind, lost.outcome.message) == ("failed", "_Interrupt: ")
    assert later.output == HELLO


# Leaks


def rss() -> int:
    """Bytes of memory in use, without pages shared with files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_a_guest_leaves_no_descriptor_and_no_memory() -> None:
    async def test(sandbox: Sandbox) -> None:
        fast = ModuleUnderTest(guests.if_argument(""))
        slow = [
            ModuleUnderTest(guests.if_argument(f"(drop (i32.const {number})) {LONG}", fields=CLOCK))
            for number in range(25)
        ]
        await allow_inline(sandbox, fast, *slow)
        restarts = 0

        async def rounds(count: int) -> None:
            nonlocal restarts
            for _ in range(count):
                await run(sandbox, fast)
            for module in slow[: count // 200]:
                restarts += not (await run_allowed(sandbox, module)).was_inline

        await rounds(1000)
        before, descriptors = rss(), len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            await rounds(5000)
        assert restarts > 40
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert rss() - before < 8 * MIB

    with_sandbox(test)


def test_a_guests_body_is_not_kept() -> None:
    async def test(sandbox: Sandbox) -> int:
        while True:
            body = os.urandom(1000)
            module = ModuleUnderTest(guests.if_argument(""), stdin=body)
            count = sys.getrefcount(body)
            if (await run_allowed(sandbox, module)).was_inline:
                return sys.getrefcount(body) - count

    assert with_sandbox(test) == 0


# Isolation


REPEATS = """(drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
 (drop (call $args_get (i32.const 1024) (i32.const 4096)))
 (call $write (i32.const 2) (i32.const 4096) (i32.load (i32.const 20)))
 (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 20)))"""
CROWD = {
    "fast": "",
    "a moment": burns(MS),
    "restarted": burns(3 * MS),
    "blocked": "(call $write (i32.const 1) (i32.const 65536) (i32.const 400000))",
    "blocked errors": "(call $write (i32.const 2) (i32.const 65536) (i32.const 90000))",
    "traps": "unreachable",
}


@pytest.mark.usefixtures("nervous")
def test_no_guest_prints_for_another() -> None:
    """The test allows every module inline after each run, so that many guests are restarted or blocked inline."""

    async def client(sandbox: Sandbox, name: int, seen: set[tuple[str, bool]]) -> None:
        chance = random.Random(name)
        for number in range(300):
            kind = chance.choice([*CROWD, *["fast"] * 6])
            token = b"tk-%d-%d-kt" % (name, number)
            fields = f"{ARGS_GET} {CLOCK}"
            wat = guests.if_argument(f"{REPEATS} {CROWD[kind]} {REPEATS}", pages=8, fields=fields)
            ended = await run(sandbox, ModuleUnderTest(wat, arguments=(token,)), has_input=True)
            ended.policy.is_allowed = True
            own = b"/x\0" + token + b"\0"
            times = 1 if kind == "traps" else 2
            assert ended.output.replace(bytes(400_000), b"") == own * times + HELLO * (times - 1)
            assert ended.stderr.replace(bytes(90_000), b"") == own * times
            assert ended.outcome.kind == ("trap" if kind == "traps" else "exit")
            seen.add((kind, ended.was_inline))
            await asyncio.sleep(0)

    async def test(sandbox: Sandbox) -> set[tuple[str, bool]]:
        seen: set[tuple[str, bool]] = set()
        await asyncio.gather(*(client(sandbox, name, seen) for name in range(8)))
        return seen

    assert {("fast", True), ("restarted", False), ("traps", True)} <= with_sandbox(test)
