"""A guest's pipes: the limit of standard error, the release of a blocked writer, and reuse."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tests.conftest import wait_until
from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.stdio import Stdio, StdioPool

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
T = TypeVar("T")


def with_pool(test: Callable[[StdioPool], Awaitable[T]]) -> T:
    """Runs a test on an event loop, with a pool."""

    async def main() -> T:
        pool = StdioPool(asyncio.get_running_loop())
        try:
            return await test(pool)
        finally:
            pool.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "kept", "dropped"),
    [(1000, b"one\ntwo\n", 0), (4, b"one\n", 4), (300, b"one\ntwo\n", 0), (262, b"one\ntw", 2), (2, b"on", 6)],
    ids=["all", "one line", "both lines", "a line costs more than its bytes", "a part of a line"],
)
def test_the_limit_of_standard_error(limit: int, kept: bytes, dropped: int) -> None:
    seen: list[bytes] = []

    async def test(pool: StdioPool) -> int:
        stdio = pool.take()
        stdio.attach(invocation(guests.HELLO, stderr=limit, on_stderr=seen.append))
        os.write(stdio.writers[1], b"one\ntwo\n")
        lost = stdio.detach()
        pool.give_back(stdio)
        return lost

    assert with_pool(test) == dropped
    assert b"".join(seen) == kept


def test_pipes_are_used_again_unless_broken() -> None:
    async def test(pool: StdioPool) -> tuple[Stdio, Stdio, Stdio]:
        first = pool.take()
        pool.give_back(first)
        second = pool.take()
        second.break_stdout()
        pool.give_back(second)
        third = pool.take()
        pool.give_back(third)
        return first, second, third

    first, second, third = with_pool(test)
    assert first is second
    assert second is not third


def test_pipes_of_a_closed_pool_are_closed() -> None:
    async def test(pool: StdioPool) -> Stdio:
        stdio = pool.take()
        pool.close()
        pool.give_back(stdio)
        return stdio

    assert with_pool(test).is_broken


@pytest.mark.parametrize("way", ["break", "cut"])
def test_a_blocked_writer_is_freed(way: str) -> None:
    async def test(pool: StdioPool) -> list[type[BaseException]]:
        stdio, nothing = pool.take(), os.open(os.devnull, os.O_RDONLY)
        errors: list[type[BaseException]] = []

        def write() -> None:
            try:
                while True:
                    os.write(stdio.writers[0], bytes(65536))
            except OSError as error:
                errors.append(type(error))

        writer = threading.Thread(target=write)
        writer.start()
        await asyncio.to_thread(wait_until, stdio.is_full)
        if way == "break":
            stdio.break_stdout()
        else:
            stdio.cut(nothing)
        writer.join(10)
        assert not writer.is_alive()
        stdio.close()
        os.close(nothing)
        return errors

    assert with_pool(test) == [BrokenPipeError]
