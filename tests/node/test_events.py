"""Events: what is written, counted, bounded and lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node import events as module
from wagi_gateway.node.api import EVENTS, ApiError, ApiUnreachable, Object
from wagi_gateway.node.events import Events

POD: Object = {"metadata": {"name": "p", "namespace": "x", "uid": "u", "resourceVersion": "5"}}
NODE: Object = {"metadata": {"name": "n", "uid": "node-uid"}}


def recorded(
    use: Callable[[MemoryApi, Events], Awaitable[None]], clock: Callable[[], float] = lambda: 0
) -> list[Object]:
    """The events in the API after `use` and a flush."""

    async def go() -> list[Object]:
        api = MemoryApi()
        events = Events(api, "n", clock=clock)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(events.run())
            await use(api, events)
            await events.flush()
            writer.cancel()
        return api.objects(EVENTS)

    return asyncio.run(go())


def test_an_answer_without_its_form_loses_no_later_event(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(api: MemoryApi, events: Events) -> None:
        create, answers = api.create, [Object()]

        async def damaged(*arguments: Any) -> Object:
            created = await create(*arguments)
            return answers.pop() if answers else created

        monkeypatch.setattr(api, "create", damaged)
        events.record(POD, "Pulled", "1")
        events.record(POD, "Pulled", "2")

    assert [event["message"] for event in recorded(use)] == ["1", "2"]


def test_an_event_is_what_describe_shows() -> None:
    async def use(_: MemoryApi, events: Events) -> None:
        events.record(POD, "Pulled", "5 modules")

    (event,) = recorded(use)
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", "resourceVersion": "5"} | {
        "name": "p",
        "namespace": "x",
        "uid": "u",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Normal", "Pulled", "5 modules", 1)
    assert event["source"] == {"component": "wagi-node", "host": "n"}
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert event["metadata"]["namespace"] == "x"


def test_an_event_about_the_node_has_its_name_as_uid() -> None:
    async def use(_: MemoryApi, events: Events) -> None:
        events.record(NODE, "NodeReady", "ready", "Warning")

    (event,) = recorded(use)
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n"}
    assert (event["metadata"]["namespace"], event["type"]) == ("default", "Warning")


def test_a_repeated_event_is_counted() -> None:
    async def use(_: MemoryApi, events: Events) -> None:
        for message in ("a", "a", "b", "a"):
            events.record(POD, "BackOff", message)

    assert [(event["message"], event["count"]) for event in recorded(use)] == [("a", 3), ("b", 1)]


def test_an_event_that_expired_is_written_anew() -> None:
    async def use(api: MemoryApi, events: Events) -> None:
        events.record(POD, "BackOff", "a")
        await events.flush()
        (event,) = api.objects(EVENTS)
        await api.delete(EVENTS, event["metadata"]["name"], "x")
        events.record(POD, "BackOff", "a")

    assert [event["count"] for event in recorded(use)] == [1]


def test_a_lost_event_ends_nothing() -> None:
    async def use(api: MemoryApi, events: Events) -> None:
        api.failures.append(ApiUnreachable("away"))
        events.record(POD, "A", "")
        events.record(POD, "B", "")

    assert [event["reason"] for event in recorded(use)] == ["B"]


def test_an_event_that_cannot_be_counted_is_lost() -> None:
    async def use(api: MemoryApi, events: Events) -> None:
        events.record(POD, "BackOff", "a")
        await events.flush()
        api.failures.append(ApiError(403, "Forbidden", ""))
        events.record(POD, "BackOff", "a")

    assert [event["count"] for event in recorded(use)] == [1]


def test_one_object_has_a_bounded_rate() -> None:
    now = [0.0]

    async def use(_: MemoryApi, events: Events) -> None:
        for number in range(module.BURST + 5):
            events.record(POD, "A", str(number))
        events.record(NODE, "B", "")
        now[0] = module.REFILL
        events.record(POD, "C", "")
        events.record(POD, "D", "")

    reasons = [event["reason"] for event in recorded(use, lambda: now[0])]
    assert reasons == ["A"] * module.BURST + ["B", "C"]


def test_memory_and_queue_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE", 3)
    monkeypatch.setattr(module, "_REMEMBERED", 2)

    async def use(_: MemoryApi, events: Events) -> None:
        for number in range(5):
            events.record(POD, "A", str(number))
        await events.flush()
        events.record(POD, "A", "0")  # which is no longer remembered

    assert [event["message"] for event in recorded(use)] == ["0", "1", "2", "0"]


def test_a_message_is_cut_at_the_servers_bound() -> None:
    async def use(_: MemoryApi, events: Events) -> None:
        events.record(POD, "A", "x" * 5000)

    (event,) = recorded(use)
    assert len(event["message"]) == 1024
