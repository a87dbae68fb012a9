"""The writer of a status: once for each change, again after a failure, and when others have changed it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import ADDRESSES, a_pod, until
from wagi_gateway.node.api import PODS, ApiError, ApiUnreachable, Object
from wagi_gateway.node.pods import status_writer
from wagi_gateway.node.pods.state import PodState, Waiting
from wagi_gateway.node.pods.status_writer import StatusWriter


def run(use: Callable[[MemoryApi, StatusWriter, PodState], Awaitable[None]]) -> MemoryApi:
    api, state = MemoryApi(), PodState()

    async def go() -> None:
        writer = StatusWriter(api, ADDRESSES, api.put(PODS, a_pod()), state)
        task = asyncio.create_task(writer.run())
        async with asyncio.timeout(60):
            await use(api, writer, state)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    return api


def patches(api: MemoryApi) -> int:
    return sum(call[0] == "patch/status" for call in api.calls)


def test_an_unchanged_status_is_written_once() -> None:
    async def use(_api: MemoryApi, writer: StatusWriter, state: PodState) -> None:
        for _ in range(3):
            writer.touch()
            await writer.flush()
        state.waiting = Waiting("ErrImagePull")
        writer.touch()
        await writer.flush()

    assert patches(run(use)) == 2


def test_a_failure_is_tried_again() -> None:
    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        api.failures += [ApiError(403, "Forbidden", "not yet"), ApiUnreachable("away")]
        writer.touch()
        await writer.flush()
        assert api.objects(PODS)[0]["status"]["phase"] == "Pending"

    assert patches(run(use)) == 3


def test_a_conflict_is_tried_again() -> None:
    """Of two writers at the same time, or of a Pod of the same name: the watch reports the end of this one."""

    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        api.failures += [ApiError(409, "Conflict", "the object has been modified")]
        writer.touch()
        await writer.flush()
        assert not writer.is_gone.is_set()

    assert patches(run(use)) == 2


def test_an_answer_without_its_form_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        patch, answers = api.patch, [{"metadata": None}, {}]

        async def damaged(*arguments: Any, **options: Any) -> Object:
            await patch(*arguments, **options)
            return answers.pop() if answers else await patch(*arguments, **options)

        monkeypatch.setattr(api, "patch", damaged)
        writer.touch()
        await writer.flush()
        assert (answers, writer.is_gone.is_set()) == ([], False)

    run(use)


def test_a_pod_that_is_gone_ends_the_writer() -> None:
    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        await api.delete(PODS, "demo", "default", grace_period=0)
        writer.touch()
        await writer.flush()
        assert writer.is_gone.is_set()

    assert patches(run(use)) == 1


def test_a_status_of_others_is_written_again_and_an_old_version_is_not() -> None:
    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        before = api.objects(PODS)[0]
        writer.touch()
        await writer.flush()
        for seen in (before, api.objects(PODS)[0]):
            writer.update(seen)
            await writer.flush()
        assert patches(api) == 1
        changed = await api.patch(PODS, "demo", {"status": {"phase": "Failed"}}, "default", subresource="status")
        writer.update(changed)
        await writer.flush()
        assert api.objects(PODS)[0]["status"]["phase"] == "Pending"

    assert patches(run(use)) == 3


def test_a_status_is_written_again_to_a_restored_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its versions are lower than those of before."""
    monkeypatch.setattr(status_writer, "_LAG", 0.0)

    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        backup = api.objects(PODS)[0]
        writer.touch()
        await writer.flush()
        api.put(PODS, backup)
        writer.update(backup)
        await writer.flush()
        assert api.objects(PODS)[0]["status"]["phase"] == "Pending"

    assert patches(run(use)) == 2


def test_a_lower_version_soon_after_a_write_counts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of a restored etcd if no newer one follows."""
    monkeypatch.setattr(status_writer, "_LAG", 0.3)

    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        backup = api.objects(PODS)[0]
        writer.touch()
        await writer.flush()
        api.put(PODS, backup)
        writer.update(backup)
        assert writer.pod is not backup
        await until(lambda: "status" in api.objects(PODS)[0])

    assert patches(run(use)) == 2


def test_an_older_version_that_a_newer_one_follows_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_writer, "_LAG", 0.1)

    async def use(api: MemoryApi, writer: StatusWriter, _state: PodState) -> None:
        older = api.objects(PODS)[0]
        writer.touch()
        await writer.flush()
        writer.update(older)
        writer.update(newest := api.objects(PODS)[0])
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, over.set)
        await over.wait()
        assert writer.pod is newest

    assert patches(run(use)) == 1
