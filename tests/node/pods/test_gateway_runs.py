"""What a gateway is made of between its runs: a definition, and what it waits for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod, free_port, is_ready, running_node, waiting
from tests.support.publishing import publish, says
from tests.support.registry import Registry, running_registry
from tests.support.stories import container, get, go, last_state, pid_of, publish_stories, restarts
from wagi_gateway.node.api import CONFIG_MAPS, PODS, Object

pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        publish_stories(registry)
        for name in ("one", "two"):
            publish(registry, f"{name}:1", says(f"{name}\n"))
        yield registry


def image_id(pod: Object) -> str:
    return str(pod["status"]["containerStatuses"][0]["imageID"])


def has_restarted(pod: Object) -> bool:
    return is_ready(pod) and restarts(pod) == 1


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

    go(story())


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
                os.kill(pid_of(node, name), signal.SIGKILL)
            after = {name: image_id(await node.until(name, has_restarted)) for name in policies}
            assert {name: after[name] != before[name] for name in policies} == {"always": True, "present": False}

    go(story())


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

    go(story())


def test_restarts(registry: Registry, tmp_path: Path) -> None:
    """The first restart is immediate, a further one backs off; a changed image and a failed probe restart too."""

    async def story() -> None:
        api, port, other = MemoryApi(), free_port(), free_port()
        limited = {"limits": {"memory": "64Mi", "cpu": "1"}}
        api.put(PODS, a_pod(container(registry, resources=limited), port=port))
        api.put(PODS, a_pod(container(registry), name="once", port=other, restartPolicy="Never"))
        async with running_node(tmp_path, api) as node:
            await node.until("demo", is_ready)
            await node.until("once", is_ready)
            assert any("limits.cpu is not enforced" in line for line in node.events.lines)
            os.kill(pid_of(node, "once"), signal.SIGKILL)
            failed = await node.until("once", lambda pod: pod["status"]["phase"] == "Failed")
            assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
            os.kill(pid_of(node), signal.SIGKILL)
            shown = await node.until("demo", lambda pod: is_ready(pod) and restarts(pod) == 1)
            assert (last_state(shown)["exitCode"], last_state(shown)["reason"]) == (137, "Error")
            os.kill(pid_of(node), signal.SIGKILL)
            await node.until("demo", lambda pod: waiting(pod) == "CrashLoopBackOff")
            between = node.pods.container("default", "demo", "hello")
            assert (between.waiting, between.is_running, between.previous_log) == (None, False, between.log)
            await node.until("demo", lambda pod: is_ready(pod) and restarts(pod) == 2)
            changed = container(registry, "env")
            await api.patch(PODS, "demo", {"spec": {"containers": [changed]}}, "default")
            await node.until("demo", lambda pod: is_ready(pod) and restarts(pod) == 3)
            assert "SCRIPT_NAME=/hello" in await get(port)

    go(story())
