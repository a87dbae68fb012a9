"""A guest that takes its time inline is restarted on a thread, so that no guest blocks the event loop for long."""

from __future__ import annotations

import asyncio
import itertools
import signal
import struct
import threading
from dataclasses import replace

import pytest

from tests.support import guests
from tests.support.inline_guests import (
    AGAIN,
    BOTH_OUTPUTS,
    CLOCK,
    FOREVER,
    HELD,
    HELLO,
    INITIALIZES,
    INLINE_ALONE,
    LONG,
    MIB,
    SAYS,
    STARTS,
    TIMEOUT,
    Ended,
    ModuleUnderTest,
    allow_inline,
    burns,
    opened,
    run,
    run_allowed,
    run_alone,
    run_restarted,
    with_sandbox,
)
from tests.support.sandbox import SETTINGS, core, define
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.engine import create_engine
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.inline import Watchdog
from wagi_gateway.sandbox.invocation import StopReason
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sources.file import WasmSource

pytestmark = INLINE_ALONE


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
IN_A_ROW = "(drop (call $fd_write (i32.const 1) (i32.const 256) (i32.const 1024) (i32.const 8)))" * 6000


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
        return ModuleUnderTest(wat, module=core(small.load(WasmSource("guest.wat", wat.encode(), wat))))

    async def main() -> list[Ended]:
        ended = []
        async with opened(small) as sandbox:
            for _ in range(4):
                slow = [module() for _ in range(slots)]
                await allow_inline(sandbox, *slow)
                ended += await asyncio.gather(*(run(sandbox, one, has_input=True) for one in slow))
        return ended

    assert {ended.end for ended in asyncio.run(main())} == {(HELLO, b"", "exit", 0, "", None)}


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


def test_the_handler_of_a_signal_runs_while_a_guest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that returns changes nothing for the guest. One that raises must not run during a host call: ctypes
    has no result then."""
    module = ModuleUnderTest(guests.if_argument(burns(1), fields=CLOCK))
    is_running = threading.Event()
    main_thread = threading.get_ident()
    handled = []

    def enter(watchdog: Watchdog, context: ExecutionContext) -> None:
        plain_enter(watchdog, context)
        is_running.set()

    def send() -> None:
        is_running.wait(TIMEOUT)
        signal.pthread_kill(main_thread, signal.SIGUSR1)

    async def test(sandbox: Sandbox) -> Ended:
        await allow_inline(sandbox, module)
        with monkeypatch.context() as patch:
            patch.setattr(Watchdog, "enter", enter)
            sender = threading.Thread(target=send)
            sender.start()
            ended = await run(sandbox, module, has_input=True)
        sender.join()
        return ended

    plain_enter = Watchdog.enter
    plain_handler = signal.signal(signal.SIGUSR1, lambda number, _frame: handled.append(number))
    try:
        ended = with_sandbox(test)
    finally:
        signal.signal(signal.SIGUSR1, plain_handler)
    assert handled == [signal.SIGUSR1]
    assert (ended.output, ended.outcome.kind) == (HELLO, "exit")
