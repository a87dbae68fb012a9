"""The reflector: every change and every end is reported once, whatever the watch does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node import reflector as module
from wagi_gateway.node.api import PODS, ApiError, ApiUnreachable, Kind, Object, WatchEvent
from wagi_gateway.node.reflector import MAX_DELAY, Reflector

SELECTOR = "spec.nodeName=n"


def pod(name: str, node: str = "n", uid: str = "") -> Object:
    return {"metadata": {"name": name, **({"uid": uid} if uid else {})}, "spec": {"nodeName": node}}


class Seen:
    """What a reflector has reported, as `+name` and `-name`."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.uids: set[str] = set()
        self._changed = asyncio.Condition()

    async def changed(self, one: Object) -> None:
        self.uids.add(one["metadata"]["uid"])
        await self._report(f"+{one['metadata']['name']}")

    async def deleted(self, one: Object) -> None:
        self.uids.remove(one["metadata"]["uid"])
        await self._report(f"-{one['metadata']['name']}")

    async def until(self, count: int) -> list[str]:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.reports) >= count)
        return self.reports

    async def _report(self, text: str) -> None:
        async with self._changed:
            self.reports.append(text)
            self._changed.notify_all()


def reported(use: Callable[[MemoryApi, Seen], Awaitable[None]]) -> list[str]:
    async def go() -> list[str]:
        api, seen = MemoryApi(), Seen()
        reflector = Reflector(api, PODS, SELECTOR, changed=seen.changed, deleted=seen.deleted, delay=0)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(reflector.run())
            await reflector.synced.wait()
            await use(api, seen)
            watcher.cancel()
        return seen.reports

    return asyncio.run(go())


def test_what_there_is_and_what_happens_is_reported() -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        await api.create(PODS, pod("a"))
        await api.create(PODS, pod("other", "m"))
        await api.patch(PODS, "a", {"metadata": {"labels": {"x": "y"}}})
        await api.delete(PODS, "a", grace_period=0)
        await seen.until(3)

    assert reported(use) == ["+a", "+a", "-a"]


@pytest.mark.parametrize("metadata", [None, [], {"uid": 7}, {"name": "x"}, {"uid": "u", "resourceVersion": None}])
def test_an_object_that_cannot_be_told_hides_no_other(metadata: object, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        found = api.list
        watched = api.watch

        async def damaged(kind: Kind, **options: Any) -> Object:
            listed = await found(kind, **options)
            return listed | {"items": [{"metadata": metadata}, "x", *listed["items"]]}

        async def broken(*_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
            monkeypatch.setattr(api, "watch", watched)
            yield WatchEvent("MODIFIED", {"metadata": metadata})

        monkeypatch.setattr(api, "list", damaged)
        monkeypatch.setattr(api, "watch", broken)
        await api.disconnect()
        await api.create(PODS, pod("a"))
        await seen.until(1)

    assert reported(use) == ["+a"]


def test_a_server_that_ends_each_watch_at_once_is_asked_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        api, seen, asked, enough = MemoryApi(), Seen(), [], asyncio.Event()

        async def short(*_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
            asked.append(asyncio.get_running_loop().time())
            if len(asked) == 3:
                enough.set()
            yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "1"}})

        monkeypatch.setattr(api, "watch", short)
        reflector = Reflector(api, PODS, SELECTOR, changed=seen.changed, deleted=seen.deleted, delay=0.2)
        watcher = asyncio.create_task(reflector.run())
        await enough.wait()
        watcher.cancel()
        assert asked[2] - asked[0] > 0.3

    asyncio.run(go())


def test_a_watch_without_a_word_is_a_new_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version of the list is ahead of those of a restored etcd."""
    monkeypatch.setattr(module, "SILENCE", 0)

    async def use(api: MemoryApi, seen: Seen) -> None:
        async def silent(*_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
            return
            yield

        monkeypatch.setattr(api, "watch", silent)
        await api.disconnect()
        api.put(PODS, pod("a"))
        await seen.until(1)

    assert reported(use) == ["+a"]


def test_a_deletion_is_a_change_until_its_end() -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        await api.create(PODS, pod("a"))
        await api.delete(PODS, "a")
        await api.delete(PODS, "a", grace_period=0)
        await seen.until(3)

    assert reported(use) == ["+a", "+a", "-a"]


def test_a_watch_goes_on_where_the_last_one_ended() -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        await api.create(PODS, pod("a"))
        await seen.until(1)
        await api.bookmark()
        await api.disconnect()
        await api.create(PODS, pod("b"))
        await seen.until(2)
        assert [verb for verb, _, _ in api.calls].count("list") == 1

    assert reported(use) == ["+a", "+b"]


@pytest.mark.parametrize("error", [ApiUnreachable("away"), ApiError(403, "Forbidden", "for a second after a restart")])
def test_what_ended_meanwhile_is_reported(error: Exception) -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        for name in ("a", "b", "c"):
            await api.create(PODS, pod(name))
        await seen.until(3)
        await api.delete(PODS, "a", grace_period=0)
        api.put(PODS, pod("b", uid="another"))
        api.compact()
        api.failures += [error, error]
        await api.disconnect()
        await seen.until(6)
        assert len(seen.uids) == 2

    reports = reported(use)
    assert reports[:3] == ["+a", "+b", "+c"]
    assert sorted(reports[3:]) == ["+b", "-a", "-b"]


def test_an_expired_version_is_a_new_list() -> None:
    async def use(api: MemoryApi, seen: Seen) -> None:
        await api.create(PODS, pod("a"))
        await seen.until(1)
        api.compact()
        await api.disconnect()
        await api.create(PODS, pod("b"))
        await seen.until(2)
        assert [verb for verb, _, _ in api.calls].count("list") == 2

    assert reported(use) == ["+a", "+b"]


def test_the_pause_between_attempts_grows_to_a_bound() -> None:
    async def nothing(_: Object) -> None:
        pass

    async def go() -> None:
        reflector = Reflector(MemoryApi(), PODS, SELECTOR, changed=nothing, deleted=nothing)
        for failures, longest in ((1, 1), (3, 4), (100, MAX_DELAY)):
            reflector._failures = failures
            assert longest / 2 <= reflector._pause() <= longest

    asyncio.run(go())


def test_a_pause_ends_when_the_api_server_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat, whose pauses are short, learns of it first."""
    monkeypatch.setattr(module, "MAX_DELAY", 3600.0)

    async def go() -> list[str]:
        api, seen = MemoryApi(), Seen()
        api.failures += [ApiUnreachable("away")]
        api.put(PODS, pod("a"))
        reflector = Reflector(api, PODS, SELECTOR, changed=seen.changed, deleted=seen.deleted, delay=3600.0)
        reflector._failures = 5
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(reflector.run())
            while api.failures:  # noqa: ASYNC110 - until the first attempt
                await asyncio.sleep(0)
            reflector.hurry()
            await seen.until(1)
            watcher.cancel()
        return seen.reports

    assert asyncio.run(go()) == ["+a"]
