"""Work in a thread that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from wagi_gateway.node.pods.threads import in_thread


def test_a_result() -> None:
    assert asyncio.run(in_thread(pow, 2, exp=3)) == 8


def test_a_cancelled_task_ends_after_its_work() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done = []

    def work() -> None:
        begun.set()
        may_end.wait(60)
        done.append("file")

    async def story() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        asyncio.get_running_loop().call_soon(may_end.set)
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert done == ["file"]

    asyncio.run(story())
