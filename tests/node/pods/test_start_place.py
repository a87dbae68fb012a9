"""The place of a gateway that starts."""

from __future__ import annotations

import asyncio

import pytest

from wagi_gateway.node.pods import start_place as module
from wagi_gateway.node.pods.start_place import StartPlace


def test_a_place_is_given_back_once() -> None:
    async def story() -> None:
        places = asyncio.Semaphore(1)
        place, second = StartPlace(places), StartPlace(places)
        await place.take()
        waiting = asyncio.create_task(second.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        place.leave()
        place.leave()
        await waiting
        assert places.locked()

    asyncio.run(story())


@pytest.mark.parametrize("has_served", [True, False])
def test_a_place_is_left_after_the_event_or_a_while(monkeypatch: pytest.MonkeyPatch, has_served: bool) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.01)

    async def story() -> None:
        places, event = asyncio.Semaphore(1), asyncio.Event()
        if has_served:
            event.set()
        place = StartPlace(places)
        await place.take()
        await place.leave_after(event)
        assert not places.locked()

    asyncio.run(story())
