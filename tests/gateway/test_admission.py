"""Admission control: a bounded number of requests run, a bounded FIFO queue waits, and all others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from wagi_gateway.errors import AtCapacity
from wagi_gateway.gateway.admission import ModuleLimit, WorkerLimit


def run(test: Coroutine[None, None, None]) -> None:
    asyncio.run(test)


def module_limit(
    worker_limit: WorkerLimit, concurrency: int = 1, queue: int = 9, queue_time: float = 60
) -> ModuleLimit:
    return ModuleLimit(worker_limit, concurrency, queue, queue_time)


async def waiting(limit: ModuleLimit) -> asyncio.Task[None]:
    """A request in the queue of the limit."""
    task = asyncio.create_task(limit.enter())
    await asyncio.sleep(0)
    return task


def test_in_order_of_arrival() -> None:
    async def test() -> None:
        one = module_limit(WorkerLimit(9))
        assert one.try_enter()
        tasks = [await waiting(one) for _ in range(3)]
        for number, task in enumerate(tasks):
            assert [other.done() for other in tasks] == [index < number for index in range(3)]
            one.leave()
            await task

    run(test())


def test_a_new_request_does_not_overtake_the_queue() -> None:
    async def test() -> None:
        worker_limit = WorkerLimit(1)
        one, other = module_limit(worker_limit, concurrency=2), module_limit(worker_limit)
        assert other.try_enter()
        task = await waiting(one)
        assert not one.try_enter()
        other.leave()
        await task

    run(test())


def test_a_full_queue() -> None:
    async def test() -> None:
        one = module_limit(WorkerLimit(9), queue=1)
        assert one.try_enter()
        task = await waiting(one)
        with pytest.raises(AtCapacity, match="1 requests wait"):
            await one.enter()
        one.leave()
        await task

    run(test())


def test_a_long_wait() -> None:
    async def test() -> None:
        one = module_limit(WorkerLimit(9), queue_time=0.01)
        assert one.try_enter()
        with pytest.raises(AtCapacity, match="no place became free"):
            await one.enter()
        one.leave()
        assert one.try_enter()

    run(test())


@pytest.mark.parametrize("moment", ["before its turn", "in its turn"])
def test_a_cancelled_request_takes_no_capacity(moment: str) -> None:
    async def test() -> None:
        one = module_limit(WorkerLimit(1))
        assert one.try_enter()
        task = await waiting(one)
        if moment == "in its turn":
            one.leave()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if moment == "before its turn":
            one.leave()
        assert one.try_enter()
        assert not one.try_enter()

    run(test())


def test_modules_take_turns_at_the_worker_limit() -> None:
    async def test() -> None:
        worker_limit = WorkerLimit(1)
        greedy, modest = module_limit(worker_limit, concurrency=9), module_limit(worker_limit)
        assert greedy.try_enter()
        crowd = [await waiting(greedy) for _ in range(3)]
        single = await waiting(modest)
        greedy.leave()
        await crowd[0]
        greedy.leave()
        await single
        modest.leave()
        await crowd[1]
        greedy.leave()
        await crowd[2]

    run(test())


def test_a_full_module_does_not_block_another() -> None:
    async def test() -> None:
        worker_limit = WorkerLimit(4)
        crowded, calm = module_limit(worker_limit, concurrency=2), module_limit(worker_limit, concurrency=2)
        assert crowded.try_enter()
        assert crowded.try_enter()
        tasks = [await waiting(crowded) for _ in range(5)]
        assert calm.try_enter()
        assert calm.try_enter()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(test())
