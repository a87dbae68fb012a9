"""What a gateway is made of between its runs: a definition, and what it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod, free_port, is_ready, running_node, waiting
from tests.support.publishing import publish, says
from tests.support.registry import Registry, running_registry
from wagi_gateway.node.api import CONFIG_MAPS, PODS, Object

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        for name in ("one", "two"):
            publish(registry, f"{name}:1", says(f"{name}\n"))
        yield registry


def container(registry: Registry, module: str, **fields: Any) -> dict[str, Any]:
    return {"name": "hello", "image": f"{registry.address}/{module}:1", **fields}


def image_id(pod: Object) -> str:
    return str(pod["status"]["containerStatuses"][0]["imageID"])


def has_restarted(pod: Object) -> bool:
    return is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_pod_that_waits_takes_another_image_at_once(registry: Registry, tmp_path: Path) -> None:
    """The image that was pulled for the earlier definition is not served."""

    async def story() -> None:
        api = MemoryApi()
        needs = {"envFrom": [{"configMapRef": {"name": "c"}}]}
        api.put(PODS, a_pod(container(registry, "one", **needs), port=free_port()))
        api.put(PODS, a_pod(container(registry, "absent"), name="wrong", port=free_port()))
        async with running_node(tmp_path, api, back_off=1000.0) as node:
            await node.until("demo", lambda pod: waiting(pod) == "CreateContainerConfigError")
            await node.until("wrong", lambda pod: waiting(pod) == "ErrImagePull")
            api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {}})
            for name, fields in (("demo", needs), ("wrong", {})):
                changed = container(registry, "two", **fields)
                await api.patch(PODS, name, {"spec": {"containers": [changed]}}, "default")
                shown = await node.until(name, is_ready)
                assert "/two@sha256:" in shown["status"]["containerStatuses"][0]["imageID"]
                assert shown["status"]["containerStatuses"][0]["restartCount"] == 0

    asyncio.run(story())


def test_always_asks_the_registry_at_each_start(registry: Registry, tmp_path: Path) -> None:
    """And IfNotPresent does not."""

    async def story() -> None:
        api, policies = MemoryApi(), {"always": "Always", "present": "IfNotPresent"}
        publish(registry, "moving:1", says("old\n"))
        for name, policy in policies.items():
            api.put(PODS, a_pod(container(registry, "moving", imagePullPolicy=policy), name=name, port=free_port()))
        async with running_node(tmp_path, api) as node:
            before = {name: image_id(await node.until(name, is_ready)) for name in policies}
            publish(registry, "moving:1", says("new\n"))
            for name in policies:
                pid = node.pods.container("default", name, "hello").pid
                assert pid
                os.kill(pid, signal.SIGKILL)
            after = {name: image_id(await node.until(name, has_restarted)) for name in policies}
            assert {name: after[name] != before[name] for name in policies} == {"always": True, "present": False}

    asyncio.run(story())


def test_a_restart_that_waits_shows_why_and_the_end_before(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api = MemoryApi()
        api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {}})
        needs = {"envFrom": [{"configMapRef": {"name": "c"}}]}
        api.put(PODS, a_pod(container(registry, "one", **needs), port=free_port()))
        async with running_node(tmp_path, api) as node:
            await node.until("demo", is_ready)
            await api.delete(CONFIG_MAPS, "c", "default")
            running = node.pods.container("default", "demo", "hello")
            assert running.pid
            os.kill(running.pid, signal.SIGKILL)
            shown = await node.until("demo", lambda pod: waiting(pod) == "CreateContainerConfigError")
            assert shown["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
            between = node.pods.container("default", "demo", "hello")
            assert between.log == between.previous_log == running.log

    asyncio.run(story())
