"""Pods from the API to a gateway that serves, and back: real gateways, a real registry, the API in memory."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import ANNOTATION, a_pod, condition, free_port, is_ready, running_node, until, waiting
from tests.support.registry import Registry
from tests.support.stories import container, get, go, last_state, pid_of, restarts
from wagi_gateway.node.api import CONFIG_MAPS, PODS, ApiError, ApiUnreachable
from wagi_gateway.node.pods import pod_worker
from wagi_gateway.node.pods.process import start_time
from wagi_gateway.node.server.gateway_metrics import scrape

pytestmark = pytest.mark.timeout(500)


def test_a_pod_beyond_the_room_of_the_node_is_refused(tmp_path: Path) -> None:
    """Whoever sets `spec.nodeName` goes past the scheduler."""
    api = MemoryApi()

    async def story() -> None:
        for name in ("a", "b"):
            api.put(PODS, a_pod(name=name, restartPolicy="Never", annotations={ANNOTATION + "modules": "{"}))
        async with running_node(tmp_path, api, allocatable={"pods": "1"}) as node:
            refused = await node.until("b", lambda pod: pod.get("status", {}).get("reason") == "OutOfpods")
            await node.until_event("OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 1")
            assert refused["status"]["phase"] == "Failed"
            await node.until("a", lambda pod: pod.get("status", {}).get("phase") == "Failed")
            api.put(PODS, a_pod(name="c", restartPolicy="Never", annotations={ANNOTATION + "modules": "{"}))
            await api.notify()
            await node.until("c", lambda pod: pod.get("status", {}).get("reason") == "CreateContainerConfigError")
            for name in ("b", "c"):
                await api.delete(PODS, name)
                await node.until(name, lambda pod: not pod)

    go(story())


def test_of_two_pods_of_a_name_the_one_that_is_deleted_comes_last(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_node(tmp_path, MemoryApi(), back_off=1000.0) as node:
            broken: dict[str, Any] = {"annotations": {ANNOTATION + "modules": "{"}}
            old = a_pod(name="a", metadata={"uid": "old", **broken}, terminationGracePeriodSeconds=1000)
            await node.pods.changed(old)
            await node.pods.changed(a_pod(name="a", metadata={"uid": "new", **broken}))
            assert [pod["metadata"]["uid"] for pod in node.pods.pods()] == ["old", "new"]
            deleted = {"deletionTimestamp": "2026-11-30T12:00:00Z", "deletionGracePeriodSeconds": 1000}
            await node.pods.changed(old | {"metadata": old["metadata"] | deleted})
            assert [pod["metadata"]["uid"] for pod in node.pods.pods()] == ["new", "old"]

    go(story())


def folders(directory: Path) -> list[str]:
    return sorted(one.name for one in (directory / "state/pods").iterdir())


def test_a_pod_serves_until_it_is_deleted(registry: Registry, tmp_path: Path) -> None:
    """A request in flight ends within the grace period."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        slow = container(registry, "sleeps", name="slow")
        api.put(PODS, a_pod(container(registry), slow, port=port, terminationGracePeriodSeconds=60))
        async with running_node(tmp_path, api) as node:
            shown = await node.until("demo", is_ready)
            assert await get(port) == "hello world\n"
            status = shown["status"]
            assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "192.0.2.77", "192.0.2.1")
            first, _ = status["containerStatuses"]
            assert first["imageID"].startswith(f"{registry.address}/hello@sha256:")
            assert first["started"]
            assert "running" in first["state"]
            assert {"Pulling", "Pulled", "Created", "Started"} <= set(node.events.reasons)
            (known,) = node.pods.pods()
            assert known["status"]["podIPs"] == [{"ip": "192.0.2.77"}]
            assert 'wagi_guest_limit{route="/slow"}' in (await scrape(node.pods))["default", "demo"]  # type: ignore[index,operator]
            late = asyncio.create_task(get(port, "/slow"))
            await asyncio.sleep(0.5)
            await api.delete(PODS, "demo", "default")
            ended = await node.until("demo", lambda pod: not pod or pod["status"]["phase"] == "Succeeded")
            assert await late == "late"
            assert not ended or condition(ended, "Ready") == "False"
            await node.until("demo", lambda pod: not pod)
            assert folders(tmp_path) == []
            assert node.events.reasons[-1] == "Killing"
            with pytest.raises(httpx.ConnectError):
                await get(port)
            assert node.pods.pods() == []

    go(story())


def test_a_later_node_adopts_what_serves(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api, ports = MemoryApi(), [free_port() for _ in range(3)]
        for name, port in zip(("demo", "gone", "dies"), ports, strict=True):
            api.put(PODS, a_pod(container(registry), name=name, port=port))
        async with running_node(tmp_path, api, drain=False) as node:
            for name in ("demo", "gone", "dies"):
                await node.until(name, is_ready)
            pids = {name: pid_of(node, name) for name in ("demo", "gone", "dies")}
        assert await get(ports[0]) == "hello world\n"
        await api.delete(PODS, "gone", "default", grace_period=0)
        os.kill(pids["dies"], signal.SIGKILL)
        by_controller = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
        await api.patch(PODS, "demo", by_controller, "default", subresource="status")
        async with running_node(tmp_path, api) as node:
            shown = await node.until("dies", lambda pod: is_ready(pod) and restarts(pod) == 1)
            assert last_state(shown)["reason"] == "ContainerStatusUnknown"
            await node.until("demo", is_ready)
            assert pid_of(node) == pids["demo"]
            await until(lambda: "uid-gone" not in folders(tmp_path))
            await api.patch(PODS, "demo", by_controller, "default", subresource="status")
            shown = await node.until("demo", is_ready)
            assert restarts(shown) == 0
            await api.delete(PODS, "demo", "default")
            await node.until("demo", lambda pod: not pod)
            with pytest.raises(httpx.ConnectError):
                await get(ports[0])
        failed = next(one for one in api.objects(PODS) if one["metadata"]["name"] == "dies")
        assert (failed["status"]["phase"], failed["status"]["reason"]) == ("Failed", "Terminated")

    go(story())


def test_the_ends_of_pods(registry: Registry, tmp_path: Path) -> None:
    """By force, after preStop, in a grace period that was shortened, at a deadline, and at a volume's limit."""

    async def story() -> None:
        api, names = MemoryApi(), ("forced", "hook", "late", "full", "shortened", "early")
        ports = dict(zip(names, [free_port() for _ in names], strict=True))
        slow = container(registry, "sleeps")
        hook, long_hook = ({"preStop": {"sleep": {"seconds": seconds}}} for seconds in (1, 3000))
        full = [{"name": "data", "emptyDir": {"sizeLimit": "64Ki"}}]
        api.put(PODS, a_pod(slow, name="forced", port=ports["forced"], terminationGracePeriodSeconds=3600))
        api.put(PODS, a_pod(container(registry, lifecycle=hook), name="hook", port=ports["hook"]))
        api.put(PODS, a_pod(container(registry), name="late", port=ports["late"]))
        api.put(PODS, a_pod(container(registry), name="full", port=ports["full"], volumes=full))
        hooked = container(registry, lifecycle=long_hook)
        api.put(PODS, a_pod(hooked, name="shortened", port=ports["shortened"], terminationGracePeriodSeconds=3600))
        async with running_node(tmp_path, api) as node:
            for name in names[:-1]:
                await node.until(name, is_ready)
            pid = pid_of(node, "forced")
            in_flight = asyncio.create_task(get(ports["forced"]))
            await asyncio.sleep(0.5)
            await api.delete(PODS, "forced", "default", grace_period=0)
            with pytest.raises(httpx.HTTPError):
                await in_flight
            await api.delete(PODS, "hook", "default")
            await api.delete(PODS, "shortened", "default")
            assert await get(ports["hook"]) == "hello world\n"  # preStop still sleeps
            await node.until("hook", lambda pod: not pod)
            await api.delete(PODS, "shortened", "default", grace_period=1)
            await node.until("shortened", lambda pod: not pod)
            await api.patch(PODS, "late", {"spec": {"activeDeadlineSeconds": 1}}, "default")
            data = tmp_path / "state/pods/uid-full/volumes/data/x"
            data.write_bytes(bytes(70_000))
            shown = await node.until("full", lambda pod: pod["status"]["phase"] == "Failed")
            assert (shown["status"]["reason"], "exceeds the limit" in shown["status"]["message"]) == ("Evicted", True)
            shown = await node.until("late", lambda pod: pod["status"]["phase"] == "Failed")
            assert shown["status"]["reason"] == "DeadlineExceeded"
            await api.delete(PODS, "late", "default")
            await node.until("late", lambda pod: not pod)
            assert start_time(pid) == 0
            # A Pod that is deleted before it ran, and one whose deletion an earlier node did not finish.
            broken = {"image": f"{registry.address}/absent:1"}
            await api.create(PODS, a_pod({**container(registry), **broken}, name="early", port=ports["early"]))
            await node.until("early", lambda pod: bool(waiting(pod)))
            await api.delete(PODS, "early", "default")
            await node.until("early", lambda pod: not pod)

    go(story())


def test_an_api_server_that_is_away_delays_and_ends_nothing(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api, port = MemoryApi(), free_port()
        api.put(PODS, a_pod(container(registry), port=port, volumes=[{"name": "c", "configMap": {"name": "c"}}]))
        api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
        async with running_node(tmp_path, api) as node:
            api.failures += [ApiUnreachable("away"), ApiError(403, "Forbidden", "not yet")] * 2
            await node.until("demo", is_ready)
            pid = pid_of(node)
            api.failures += [ApiUnreachable("away")] * 5
            await until(lambda: not api.failures)
            assert pid_of(node) == pid
            await api.delete(PODS, "demo", "default")
            api.failures += [ApiUnreachable("away")] * 3
            await node.until("demo", lambda pod: not pod)

    go(story())


def test_a_drained_pod_does_not_start_again(tmp_path: Path) -> None:
    """A watch still shows versions of the Pod from before its end."""

    async def story() -> None:
        api = MemoryApi()
        pod = api.put(PODS, a_pod({"name": "hello", "image": "example.invalid/hello:1"}))
        async with running_node(tmp_path, api) as node:
            await node.pods.drain()
            await node.pods.changed(pod)
            assert node.pods.pods() == []

    go(story())


def test_a_clock_that_is_set_neither_ends_nor_delays_a_pod(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an hour: deadlines and back-off follow the time that has passed."""
    monkeypatch.setattr(pod_worker, "_LOOK", 0.1)

    async def story() -> None:
        api, port, step = MemoryApi(), free_port(), [0.0]
        api.put(PODS, a_pod(container(registry), port=port, activeDeadlineSeconds=3000))
        async with running_node(tmp_path, api, clock=lambda: time.time() + step[0]) as node:
            await node.until("demo", is_ready)
            for by in (3600.0, -3600.0):
                step[0], pid = by, pid_of(node)
                os.kill(pid, signal.SIGKILL)
                await until(lambda: node.pods.container("default", "demo", "hello").pid not in (None, pid))  # noqa: B023
                shown = await node.until("demo", is_ready)
                assert shown["status"]["phase"] == "Running"
            await api.patch(PODS, "demo", {"spec": {"activeDeadlineSeconds": 1}}, "default")
            shown = await node.until("demo", lambda pod: pod["status"]["phase"] == "Failed")
            assert shown["status"]["reason"] == "DeadlineExceeded"

    go(story())
