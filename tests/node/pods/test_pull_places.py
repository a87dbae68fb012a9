"""Pulls of several namespaces, and those whose Pod is gone."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from wagi_gateway.node.pods.pull_places import MAX_PULLS, PullPlaces


def test_a_result_and_an_error() -> None:
    async def story() -> None:
        places = PullPlaces()
        assert await places.run("a", lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await places.run("a", lambda: 1 // 0)

    asyncio.run(story())


def test_a_slow_registry_keeps_no_other_namespace_waiting_nor_the_node_from_ending() -> None:
    """Pods are created and deleted, whose images never arrive."""
    begun, never = threading.Semaphore(0), threading.Event()

    def slow() -> None:
        begun.release()
        never.wait(60)

    async def story() -> None:
        places = PullPlaces()
        for _ in range(3):
            pulls = [asyncio.create_task(places.run("hostile", slow)) for _ in range(5)]
            await asyncio.sleep(0)
            for one in pulls:
                one.cancel()
            await asyncio.gather(*pulls, return_exceptions=True)
        for _ in range(MAX_PULLS // 2):
            assert begun.acquire(timeout=60)
        async with asyncio.timeout(60):
            assert await places.run("other", lambda: 7) == 7
        assert not begun.acquire(blocking=False)

    asyncio.run(story())
    assert not never.is_set()
    never.set()


def test_two_namespaces_together_leave_a_place() -> None:
    """And those that have places wait for those that have none, however long they have waited."""
    gate = threading.Semaphore(0)

    def slow() -> None:
        gate.acquire(timeout=60)

    async def story() -> None:
        places = PullPlaces()
        hostile = [asyncio.create_task(places.run(namespace, slow)) for namespace in "ab" for _ in range(10)]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert await places.run("c", lambda: 7) == 7
        hostile.append(asyncio.create_task(places.run("c", slow)))
        await asyncio.sleep(0)
        assert sum(places.count(namespace) for namespace in "abc") == MAX_PULLS
        others = [asyncio.create_task(places.run(namespace, lambda: 7)) for namespace in "de"]
        gate.release()
        async with asyncio.timeout(60):
            assert await asyncio.gather(*others) == [7, 7]
        assert sum(places.count(namespace) for namespace in "abc") == MAX_PULLS - 1
        gate.release(len(hostile))
        await asyncio.gather(*hostile)
        assert sum(places.count(namespace) for namespace in "abc") == 0

    asyncio.run(story())


def test_a_pull_that_is_given_up_while_it_waits_leaves_its_place_to_others() -> None:
    gate = threading.Event()

    async def story() -> None:
        places = PullPlaces()
        held = [asyncio.create_task(places.run("a", partial(gate.wait, 60))) for _ in range(MAX_PULLS)]
        await asyncio.sleep(0)
        for one in held[MAX_PULLS // 2 :]:
            one.cancel()
        await asyncio.gather(*held[MAX_PULLS // 2 :], return_exceptions=True)
        gate.set()
        await asyncio.gather(*held[: MAX_PULLS // 2])
        async with asyncio.timeout(60):
            assert await asyncio.gather(*(places.run("a", lambda: 7) for _ in range(20))) == [7] * 20

    asyncio.run(story())


def test_a_machine_without_room_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        places = PullPlaces()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_room)
            for _ in range(10):
                with pytest.raises(RuntimeError):
                    await places.run("a", lambda: 7)
        assert await places.run("a", lambda: 7) == 7

    asyncio.run(story())
