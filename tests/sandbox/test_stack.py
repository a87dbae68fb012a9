"""The stack of the calling thread, compared with what a guest needs."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, warm
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.sandbox.stack import GUEST_STACK, can_hold_guest, stack_size

T = TypeVar("T")

KIB, MIB = 2**10, 2**20


def on_a_thread(size: int, call: Callable[[], T]) -> T:
    """The result of `call` on a thread with a stack of `size` bytes."""
    future: Future[T] = Future()
    default = threading.stack_size(size)
    try:
        thread = threading.Thread(target=lambda: future.set_result(call()))
        thread.start()
    finally:
        threading.stack_size(default)
    thread.join()
    return future.result()


@pytest.mark.parametrize("size", [256 * KIB, MIB, 4 * MIB, 64 * MIB])
def test_the_stack_of_a_thread(size: int) -> None:
    found, can_hold = on_a_thread(size, lambda: (stack_size(), can_hold_guest()))
    assert found >= size  # more where the allocator reuses the stack of a thread that is over
    assert can_hold == (found >= GUEST_STACK)


@pytest.mark.parametrize("limit", [256 * KIB, MIB, 8 * MIB, resource.RLIM_INFINITY])
@pytest.mark.parametrize("arguments", [0, 50_000], ids=["few", "large"])
def test_the_stack_of_the_main_thread_ends_at_its_limit_and_begins_below_the_arguments(
    limit: int, arguments: int
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > hard):
        pytest.skip("the limit of this process is lower")
    code = "from wagi_gateway.sandbox.stack import stack_size; print(stack_size())"
    done = subprocess.run(
        [sys.executable, "-c", code, "x" * arguments],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (limit, hard)),
    )
    size = int(done.stdout)
    if limit == resource.RLIM_INFINITY:
        assert size > 8 * MIB
    else:
        assert limit - arguments - 64 * KIB < size <= limit - arguments + 4 * KIB


@pytest.mark.parametrize("size", [MIB, 8 * MIB])
def test_a_guest_runs_on_the_loops_thread_if_that_can_hold_it(path: str, size: int) -> None:
    """The module is quick and then recurses, which ends in a trap wherever it runs."""
    module = warm(guests.if_argument("(call $again)", fields="(func $again (call $again))"))

    async def one(sandbox: Sandbox, *argv: bytes) -> Guest:
        ended = asyncio.Event()
        invocation = Invocation(module, b"_start", limits=Limits(), argv=[b"/", *argv], environ={})
        guest = sandbox.start(invocation, on_end=lambda _: ended.set())
        await ended.wait()
        guest.release()
        return guest

    async def main() -> tuple[set[str], str | None, str | None]:
        async with Sandbox(compiler().engine) as sandbox:
            quick = [await one(sandbox) for _ in range(40)]
            deep = await one(sandbox, b"deep")
            return {guest.executor for guest in quick}, deep.executor, deep.failure()

    can_hold, (executors, executor, failure) = on_a_thread(size, lambda: (can_hold_guest(), asyncio.run(main())))
    is_inline = path == "hot" and can_hold
    assert ("inline" in executors, executor == "inline") == (is_inline, is_inline)
    assert failure == "trap: call stack exhausted"
