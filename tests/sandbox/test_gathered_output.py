"""Guests whose writes are gathered: the same output, results and memory as of guests without, in fewer calls."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.support.guests import FD_READ, FD_WRITE, PROC_EXIT
from tests.support.sandbox import compiler, core, invocation
from wagi_gateway.compiler.gathered_writes import CAPACITY
from wagi_gateway.sandbox import capi, streams
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation, Outcome
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sandbox.streams import CHUNK
from wagi_gateway.sources.file import WasmSource

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

PAGE = 65536
MAX = 2**32 - 1
DIRECT, BY_TABLE, CLOSE, RENUMBER, GROW, STORE, EXIT, TRAP, POKE = range(9)
SCRIPT = 1024
"""Where the guest's memory holds the script."""
RESULTS = 40_000
"""Where the guest's memory holds the results of the calls, which it prints to standard error at its end."""

# A step of the script is an operation and four numbers, 20 bytes; the result of each goes to RESULTS.
DRIVER = f"""(module {FD_WRITE} {FD_READ} {PROC_EXIT}
 (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
 (type $write (func (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $fd_write)
 (func $print_all
  (i32.store (i32.const 60000) (i32.const 0)) (i32.store (i32.const 60004) (i32.const {PAGE}))
  (drop (call $fd_write (i32.const 2) (i32.const 60000) (i32.const 1) (i32.const 60008))))
 (func $step (param $operation i32) (param $a i32) (param $b i32) (param $c i32) (param $d i32) (result i32)
  (block $poke (block $trap (block $exit (block $store (block $grow (block $renumber (block $close (block $table
  (block $direct
   (br_table $direct $table $close $renumber $grow $store $exit $trap $poke (local.get $operation)))
   (return (call $fd_write (local.get $a) (local.get $b) (local.get $c) (local.get $d))))
   (return (call_indirect (type $write)
    (local.get $a) (local.get $b) (local.get $c) (local.get $d) (i32.const 0))))
   (return (call $fd_close (local.get $a))))
   (return (call $fd_renumber (local.get $a) (local.get $b))))
   (return (memory.grow (local.get $a))))
   (i32.store (local.get $a) (local.get $b)) (return (i32.const 0)))
   (call $print_all) (call $exit (local.get $a)))
   (call $print_all) unreachable)
  (return_call $fd_write (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
 (func (export "_start") (local $at i32) (local $end i32) (local $result i32)
  (i32.store (i32.const 0) (i32.const {SCRIPT})) (i32.store (i32.const 4) (i32.const {RESULTS - SCRIPT}))
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (local.set $at (i32.const {SCRIPT})) (local.set $result (i32.const {RESULTS}))
  (local.set $end (i32.add (local.get $at) (i32.load (i32.const 8))))
  (block $done (loop $next
   (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
   (i32.store (local.get $result) (call $step
    (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at))
    (i32.load offset=12 (local.get $at)) (i32.load offset=16 (local.get $at))))
   (local.set $result (i32.add (local.get $result) (i32.const 4)))
   (local.set $at (i32.add (local.get $at) (i32.const 20)))
   (br $next)))
  (call $print_all)))"""

Step = tuple[int, int, int, int, int]


class Ended(NamedTuple):
    """What a run leaves."""

    outcome: Outcome
    stdout: bytes
    memory: bytes
    """The memory before the end, with the result of each step."""


class Run:
    """A run of a guest on this thread, as it is inline."""

    def __init__(self, given: Invocation, *, gathers: bool) -> None:
        self.context = ExecutionContext(given)
        self.context.is_inline = True
        self.context.gathers_writes = gathers
        outcome = capi.run(compiler().engine, self.context)
        self.pieces = self.context.streams.pieces_held
        stdout = b"".join(iter(self.context.streams.take_stdout, b""))
        stderr: list[bytes] = []
        self.context.streams._log = stderr.append
        self.context.streams.detach()
        self.ended = Ended(outcome._replace(seconds=0.0), stdout, b"".join(stderr))


def driven(*steps: Step) -> Invocation:
    stdin = b"".join(struct.pack("<5I", *(number & MAX for number in step)) for step in steps)
    return invocation(DRIVER, stdin=stdin, stderr=64 * 2**20)


def run(*steps: Step) -> Run:
    """The run with gathered writes, which ends as the one without."""
    gathering = Run(driven(*steps), gathers=True)
    assert gathering.ended == Run(driven(*steps), gathers=False).ended
    return gathering


def results(ran: Run, count: int) -> tuple[int, ...]:
    """What the first steps returned."""
    return struct.unpack_from(f"<{count}I", ran.ended.memory, RESULTS)


IOVECS = 50_000
WRITTEN = 50_900
TEXT = b"one two three four five\n"
TEXT_AT = 51_000


def piece(number: int, start: int, size: int) -> Iterator[Step]:
    """Stores an iovec."""
    yield STORE, IOVECS + 8 * number, start, 0, 0
    yield STORE, IOVECS + 8 * number + 4, size, 0, 0


def text(data: bytes = TEXT, at: int = TEXT_AT) -> Iterator[Step]:
    """Stores a text."""
    for offset in range(0, len(data), 4):
        yield STORE, at + offset, int.from_bytes(data[offset : offset + 4], "little"), 0, 0


def write(operation: int = DIRECT, descriptor: int = 1, count: int = 1, iovecs: int = IOVECS) -> Step:
    return operation, descriptor, iovecs, count, WRITTEN


HEAD = (*text(), *piece(0, TEXT_AT, 4), *piece(1, TEXT_AT + 4, 4), *piece(2, TEXT_AT + 8, 6))


def test_writes_reach_the_host_in_one_piece() -> None:
    ran = run(*HEAD, *[write()] * 30, write(count=3), write(POKE))
    assert ran.ended.stdout == b"one " * 30 + b"one two three " + b"one "
    assert ran.pieces == 1
    assert ran.ended.outcome == Outcome("exit")


def test_calls_by_table_stay_in_order() -> None:
    steps = [*HEAD, write(count=2), write(BY_TABLE), write(count=3), write(count=2), write(BY_TABLE)]
    assert run(*steps).ended.stdout == b"one two one one two three one two one "


CASES: dict[str, tuple[list[Step], bytes]] = {
    "no piece": ([write(count=0), write()], b"one "),
    "an empty piece": ([*piece(0, TEXT_AT, 0), write(), write(count=2)], b"two "),
    "an empty piece at the end of memory": ([*piece(0, PAGE, 0), write(count=2)], b"two "),
    "an empty piece beyond memory": ([*piece(0, PAGE + 1, 0), write(count=2)], b""),
    "a piece beyond memory": ([*piece(1, PAGE - 3, 4), write(count=2), write()], b"one "),
    "a piece up to the end of memory": ([*piece(1, PAGE - 4, 4), write(count=2)], b"one \0\0\0\0"),
    "a piece that wraps around": ([*piece(1, MAX - 1, 4), write(count=2), write()], b"one "),
    "a size that wraps around": ([*piece(1, 4, MAX - 1), write(count=2), write()], b"one "),
    "iovecs beyond memory": ([write(iovecs=PAGE - 4), write()], b"one "),
    "iovecs that wrap around": ([write(iovecs=MAX - 3), write()], b"one "),
    "iovecs at no multiple of four": (
        [*piece(0, TEXT_AT << 8, 4 << 8), *piece(1, 0, 0), write(iovecs=IOVECS + 1)],
        b"one ",
    ),
    "written beyond memory": ([(DIRECT, 1, IOVECS, 1, PAGE - 3), write()], b"one "),
    "written that wraps around": ([(DIRECT, 1, IOVECS, 1, MAX), write()], b"one "),
    "written over the iovec": ([(DIRECT, 1, IOVECS, 1, IOVECS), write()], b"one "),
    "written over the text": ([(DIRECT, 1, IOVECS, 1, TEXT_AT)], b"one "),
    "2^24 pieces": ([write(count=2**24), write()], b"one "),
    "a number of pieces that wraps around": ([write(count=2**29 + 1), write()], b"one "),
    "17 pieces": ([*(step for number in range(17) for step in piece(number, TEXT_AT, 1)), write(count=17)], b"o" * 17),
    "standard error": ([write(descriptor=2), write()], b"one "),
    "standard input": ([write(descriptor=0), write()], b"one "),
    "an unknown descriptor": ([write(descriptor=7), write()], b"one "),
    "a closed descriptor": ([write(), (CLOSE, 1, 0, 0, 0), write(), write(BY_TABLE)], b"one "),
    "another closed descriptor": ([write(), (CLOSE, 0, 0, 0, 0), write(), write()], b"one one one "),
    "a descriptor that becomes standard error": ([write(), (RENUMBER, 2, 1, 0, 0), write()], b"one "),
    "standard output under another number": ([write(), (RENUMBER, 1, 2, 0, 0), write(), write(descriptor=2)], b""),
    "a piece in grown memory": ([*piece(0, PAGE, 4), write(), (GROW, 1, 0, 0, 0), write()], b"\0\0\0\0"),
    "an exit": ([write(), write(), (EXIT, 3, 0, 0, 0)], b"one one "),
    "a trap": ([write(), write(), (TRAP, 0, 0, 0, 0)], b"one one "),
}


@pytest.mark.parametrize("case", CASES)
def test_a_guest_behaves_as_one_without(case: str) -> None:
    steps, expected = CASES[case]
    ran = run(*HEAD, *steps)
    if expected:
        assert ran.ended.stdout.startswith(expected)
    if case == "a trap":
        assert ran.ended.outcome.trap == "wasm `unreachable` instruction executed"
    if case == "an exit":
        assert ran.ended.outcome.code == 3


def test_the_results_are_those_of_the_host() -> None:
    count = len(HEAD)
    ran = run(*HEAD, write(), write(iovecs=PAGE), write(descriptor=7), (CLOSE, 1, 0, 0, 0), write())
    assert results(ran, count + 5)[count:] == (0, 21, 8, 0, 8)
    assert ran.ended.memory[WRITTEN : WRITTEN + 4] == struct.pack("<I", 4)


@pytest.mark.parametrize("size", [CAPACITY - 1, CAPACITY, CAPACITY + 1, 7, CAPACITY // 2 + 1])
def test_more_than_the_buffer_holds(size: int) -> None:
    ran = run(*text(), *piece(0, 16, size), *piece(1, TEXT_AT, 24), *[write(count=2)] * 5)
    assert len(ran.ended.stdout) == 5 * (size + 24)
    assert ran.ended.stdout.count(TEXT) >= 5


ADDRESS = st.one_of(
    st.sampled_from([0, 4, TEXT_AT, IOVECS, WRITTEN, PAGE - 8, PAGE - 4, PAGE, PAGE + 1, 2**31, MAX - 7, MAX]),
    st.integers(0, PAGE),
)
SIZES = st.one_of(st.integers(0, 40), st.sampled_from([CAPACITY, PAGE, 2**31, MAX]))
DESCRIPTOR = st.sampled_from([1, 1, 1, 1, 0, 2, 3])
STEP = st.one_of(
    st.tuples(
        st.sampled_from([DIRECT, DIRECT, DIRECT, BY_TABLE, POKE]),
        DESCRIPTOR,
        st.one_of(st.sampled_from([IOVECS, IOVECS + 8, PAGE - 8]), ADDRESS),
        st.one_of(st.integers(0, 18), st.sampled_from([2**24, 2**29, MAX])),
        st.one_of(st.just(WRITTEN), ADDRESS),
    ),
    st.tuples(st.just(STORE), st.integers(0, 16).map(lambda n: IOVECS + 8 * n), ADDRESS, st.just(0), st.just(0)),
    st.tuples(st.just(STORE), st.integers(0, 16).map(lambda n: IOVECS + 8 * n + 4), SIZES, st.just(0), st.just(0)),
    st.tuples(st.sampled_from([CLOSE, RENUMBER]), DESCRIPTOR, DESCRIPTOR, st.just(0), st.just(0)),
    st.tuples(st.just(GROW), st.integers(0, 1), st.just(0), st.just(0), st.just(0)),
)


@given(st.lists(STEP, max_size=40))
def test_any_calls(steps: list[Step]) -> None:
    run(*HEAD, *steps)


def start(sandbox: Sandbox, given: Invocation) -> tuple[Guest, asyncio.Event]:
    ended = asyncio.Event()
    return sandbox.start(given, on_end=lambda _: ended.set()), ended


async def read(guest: Guest, ended: asyncio.Event) -> bytes:
    output = b""
    while data := await guest.read():
        output += data
    await asyncio.wait_for(ended.wait(), 30)
    return output


async def outputs(sandbox: Sandbox, invocations: Iterable[Invocation]) -> list[tuple[Guest, bytes]]:
    found = []
    for each in invocations:
        guest, ended = start(sandbox, each)
        found.append((guest, await read(guest, ended)))
    return found


def lines(given: Invocation, count: int) -> list[tuple[Guest, bytes]]:
    """Guests one after the other, which may run inline from the first on."""

    async def main() -> list[tuple[Guest, bytes]]:
        async with Sandbox(compiler().engine) as sandbox:
            sandbox.inline_policy(given).is_allowed = True
            return await outputs(sandbox, [given] * count)

    return asyncio.run(main())


def test_the_guests_of_a_module_that_writes_often_gather() -> None:
    often, seldom = driven(*HEAD, *[write()] * 5), driven(*HEAD, write())
    (first, output), *others = lines(often, 4)
    assert output == b"one " * 5
    assert [data for _, data in others] == [output] * 3
    inline = [guest for guest, _ in others if guest.executor == "inline"]
    assert not first.context.gathers_writes
    if first.executor == "inline":  # else the machine was too busy for it
        assert all(guest.context.gathers_writes for guest in inline)
    assert not any(guest.context.gathers_writes for guest, _ in lines(seldom, 3))


def test_a_guest_on_a_thread_does_not_gather() -> None:
    given = driven(*HEAD, *[write()] * 5)

    async def main() -> list[tuple[Guest, bytes]]:
        async with Sandbox(compiler().engine) as sandbox:
            sandbox.inline_policy(given).writes_often = True
            return await outputs(sandbox, [given])

    ((guest, output),) = asyncio.run(main())
    assert guest.executor == "thread"
    assert output == b"one " * 5
    assert not guest.context.gathers_writes


LOOPS = f"""(module {FD_WRITE} (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\04\\00\\00\\00")
 (data (i32.const 16) "one ")
 (func (export "_start") (local $left i64) (local.set $left (i64.const {{turns}}))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  (loop $more (br_if $more (i64.ne (i64.const 0)
   (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def test_a_guest_that_is_interrupted_prints_once() -> None:
    given = invocation(LOOPS.format(turns=100_000_000))

    async def main() -> tuple[Guest, bytes]:
        async with Sandbox(compiler().engine) as sandbox:
            policy = sandbox.inline_policy(given)
            policy.is_allowed = policy.writes_often = True
            ((guest, output),) = await outputs(sandbox, [given])
            return guest, output

    guest, output = asyncio.run(main())
    assert guest.executor == "restarted"
    assert output == b"one one "


def test_a_guest_that_prints_without_end_is_bounded() -> None:
    text = f"""(module {FD_WRITE} (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\40\\00\\00\\00")
     (func (export "_start") (loop $more
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $more))))"""
    run = Run(invocation(text), gathers=True)
    assert run.ended.outcome.kind == "trap"  # it would have to wait, and is run again on a thread
    assert len(run.ended.stdout) < CHUNK + streams.CAPACITY + CAPACITY


@pytest.mark.parametrize("memories", [1, 2])
def test_the_added_memory_does_not_count(memories: int) -> None:
    given = driven(*HEAD, write())
    limits = given.limits.model_copy(update={"memories": memories, "memory": PAGE})
    ran = Run(replace(given, limits=limits), gathers=True)
    assert ran.ended.outcome == Outcome("exit")
    assert ran.ended.stdout == b"one "


@pytest.mark.parametrize("sample", ["benchmarks/guests/variables.wasm", "samples/c/env.wasm"])
def test_programs_of_compilers(sample: str) -> None:
    data = (ROOT / sample).read_bytes()
    module = core(compiler().load(WasmSource(sample, data, sample)))
    environ = {b"NAME_%d" % number: b"value" * number for number in range(200)}
    given = replace(driven(), module=module, environ=environ, stdin=b"")
    gathering, without = Run(given, gathers=True), Run(given, gathers=False)
    assert gathering.ended == without.ended
    assert gathering.pieces < without.pieces
    assert without.pieces > 20
