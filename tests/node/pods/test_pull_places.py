"""Pulls of several namespaces, and those whose Pod is gone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from wagi_gateway.node.pods.pull_places import MAX_NAMESPACE_PULLS, PullPlaces


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
        for _ in range(MAX_NAMESPACE_PULLS):
            assert begun.acquire(timeout=60)
        async with asyncio.timeout(60):
            assert await places.run("other", lambda: 7) == 7
        assert not begun.acquire(blocking=False)

    asyncio.run(story())
    assert not never.is_set()
    never.set()


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
