"""The end of a Pod whose node is shut down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import ADDRESSES, RecordedEvents, a_pod, runtime
from wagi_gateway.node.api import PODS, Object
from wagi_gateway.node.pods.ending import PodEnding
from wagi_gateway.node.pods.folder import PodFolder
from wagi_gateway.node.pods.state import PodState
from wagi_gateway.node.pods.status_writer import StatusWriter


def shut_down(directory: Path, pod: Object, state: PodState) -> list[Object]:
    """The Pods of the API after the shutdown."""
    api = MemoryApi()
    pod = api.put(PODS, pod)
    writer = StatusWriter(api, ADDRESSES, pod, state)
    folder = PodFolder.of(directory, "uid-demo")
    folder.make()
    ending = PodEnding(runtime(directory, api, RecordedEvents()), folder, state, writer, lambda: pod)

    async def go() -> None:
        writing = asyncio.create_task(writer.run())
        async with asyncio.timeout(60):
            await ending.shut_down(None)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    asyncio.run(go())
    return api.objects(PODS)


def test_the_pod_is_left_with_the_reason(tmp_path: Path) -> None:
    (pod,) = shut_down(tmp_path, a_pod(), PodState("Running"))
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "Terminated")


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_the_deletion_of_a_pod_is_completed(tmp_path: Path, phase: str) -> None:
    """No other node does so: `kubectl delete` would wait until this one is back."""
    deleted = a_pod(metadata={"deletionTimestamp": "2026-11-30T12:00:00Z"})
    assert shut_down(tmp_path, deleted, PodState(phase)) == []
    assert list(PodFolder.all(tmp_path)) == []
