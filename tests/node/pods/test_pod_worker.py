"""Pods whose end another process of the node has seen, or that only their deletion ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod, running_node, until
from wagi_gateway.node.api import PODS, ApiError, Kind, Object
from wagi_gateway.node.pods.folder import PodFolder
from wagi_gateway.node.pods.state import PodState, Run


def test_an_end_while_the_node_was_away_is_shown(tmp_path: Path) -> None:
    """Of a gateway that is not to run again: a Job waits for it."""

    async def story() -> None:
        api = MemoryApi()
        pod = api.put(PODS, a_pod(restartPolicy="Never", metadata={"uid": "uid-demo"}))
        await api.patch(PODS, "demo", {"status": {"phase": "Running"}}, "default", subresource="status")
        folder = PodFolder.of(tmp_path / "state", "uid-demo")
        folder.make()
        folder.save_manifest(pod)
        PodState("Running", run=Run(1, 1, "r", "2026-11-30T12:00:00Z", "127.0.0.1", 3001)).save(folder.state)
        async with running_node(tmp_path, api) as node:
            shown = await node.until("demo", lambda pod: pod["status"]["phase"] == "Failed")
            ended = shown["status"]["containerStatuses"][0]["state"]["terminated"]
            assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")

    asyncio.run(story())


def test_a_pod_that_has_ended_is_deleted_with_the_status_that_it_has(tmp_path: Path) -> None:
    """Its folder is gone while a finalizer, such as that of a Job, holds it in the API."""

    class Validating(MemoryApi):
        """Refuses that a container waits that has terminated, as the API server does for restartPolicy Never."""

        async def patch(self, kind: Kind, name: str, body: Object, *where: Any, **how: Any) -> Object:
            if any("waiting" in one["state"] for one in (body.get("status") or {}).get("containerStatuses") or ()):
                raise ApiError(422, "Invalid", "may not be transitioned to non-terminated state")
            return await super().patch(kind, name, body, *where, **how)

    async def story() -> None:
        api = Validating()
        ended = {"name": "hello", "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": 7}}}
        pod = a_pod(restartPolicy="Never", metadata={"deletionTimestamp": "2026-11-30T12:00:00Z"})
        api.put(PODS, pod | {"status": {"phase": "Failed", "containerStatuses": [ended]}})
        async with running_node(tmp_path, api):
            await until(lambda: not api.objects(PODS))

    asyncio.run(story())
