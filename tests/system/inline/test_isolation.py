"""Inline guests leave nothing behind, and none prints for another."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.inline_guests import (
    ARGS_GET,
    CLOCK,
    HELLO,
    INLINE_ALONE,
    LONG,
    MIB,
    MS,
    ModuleUnderTest,
    allow_inline,
    burns,
    run,
    run_allowed,
    with_sandbox,
)
from wagi_gateway.sandbox.sandbox import Sandbox

pytestmark = INLINE_ALONE


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
