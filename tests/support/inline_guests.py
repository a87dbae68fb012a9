"""Inline guests: their modules, their runs and their ends.

A module runs inline after some fast runs on threads. Each guest is therefore fast without input, and does the work of
the test if it has an argument.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, warm
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.warm_module import WarmModule
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.inline import TIME_SLICE, InlinePolicy
from wagi_gateway.sandbox.invocation import Invocation, Outcome
from wagi_gateway.sandbox.sandbox import Sandbox

T = TypeVar("T")
MIB = 2**20
HELLO = guests.CONTENT_TYPE + b"hello\n"
HELD = 0.3
"""Seconds of processor time for which a guest may block the event loop; the watchdog interrupts it after some
thousandths, and on a busy machine later."""
BLOCKED = 5.0
"""Seconds of wall time, in which a busy machine interrupts a guest that is blocked in a write."""
TIMEOUT = 20.0

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
CLOCK = '(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
NOW = "(drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))"


def burns(milliseconds: int) -> str:
    """Instructions that run for this time on any machine; the guest needs CLOCK."""
    return f"""{NOW} (i64.store (i32.const 32) (i64.add (i64.load (i32.const 24)) (i64.const {milliseconds * 10**6})))
     (loop $burn {NOW} (br_if $burn (i64.lt_u (i64.load (i32.const 24)) (i64.load (i32.const 32)))))"""


MS = int(TIME_SLICE * 1000)
LONG = burns(10 * MS)
FOREVER = "(loop $forever (br $forever))"

INLINE_ALONE = pytest.mark.skipif(not choose().can_run_inline, reason="this wasmtime runs no guest inline")


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
