"""The output of inline guests, of which none is read while the guest runs."""

from __future__ import annotations

import struct

import pytest

from tests.support import guests
from tests.support.inline_guests import (
    CLOCK,
    FOREVER,
    HELD,
    HELLO,
    INLINE_ALONE,
    LONG,
    MIB,
    ModuleUnderTest,
    allow_inline,
    run,
    run_alone,
    with_sandbox,
)
from wagi_gateway.sandbox.sandbox import Sandbox

pytestmark = INLINE_ALONE


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
        ("(call $write (i32.const 2) (i32.const 0) (i32.const 65536))", {"time": 1}, "time"),
        ("(call $write (i32.const 2) (i32.const 0) (i32.const 1))", {"time": 1}, "time"),
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
