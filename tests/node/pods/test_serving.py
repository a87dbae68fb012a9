"""A gateway that runs: hooks and probes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod, condition, free_port, is_ready, running_node
from tests.support.registry import Registry
from tests.support.stories import container, go, last_state, restarts
from wagi_gateway.node.api import PODS

pytestmark = pytest.mark.timeout(500)


def test_hooks(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api, names = MemoryApi(), ("demo", "broken", "unstarted")
        ports = dict(zip(names, [free_port() for _ in names], strict=True))
        calls = {
            "postStart": {"httpGet": {"path": "/hello", "port": ports["demo"]}},
            "preStop": {"httpGet": {"path": "/hello", "port": 1}},
        }
        own = container(registry, lifecycle=calls)
        pause = container(registry, name="pause", lifecycle={"postStart": {"sleep": {"seconds": 0}}})
        api.put(PODS, a_pod(own, pause, port=ports["demo"]))
        wrong = {"postStart": {"httpGet": {"port": 1}}, "preStop": {"httpGet": {"port": 2}}}
        twice = [container(registry, name=name, lifecycle=wrong) for name in ("hello", "other")]
        api.put(PODS, a_pod(*twice, name="broken", port=ports["broken"]))
        absent = {"httpGet": {"path": "/absent", "port": ports["unstarted"]}, "periodSeconds": 0.1}
        never = {"failureThreshold": 2, "terminationGracePeriodSeconds": 0, **absent}
        api.put(PODS, a_pod(container(registry, startupProbe=never), name="unstarted", port=ports["unstarted"]))
        async with running_node(tmp_path, api) as node:
            await node.until("demo", is_ready)
            await node.until_event("FailedPostStartHook: PostStartHook failed: hello: the Pod listens on port")
            await node.until("broken", lambda pod: restarts(pod) >= 1)
            stops = [line for line in node.events.lines if "the Pod listens on port" in line and "not 2" in line]
            assert len(stops) == 2  # once for each container
            shown = await node.until("unstarted", lambda pod: restarts(pod) >= 1)
            assert last_state(shown)["exitCode"] == 137
            await api.delete(PODS, "demo", "default")
            await node.until("demo", lambda pod: not pod)
            assert any("FailedPreStopHook: PreStopHook failed: hello" in line for line in node.events.lines)

    go(story())


def test_probes(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api, port, dead = MemoryApi(), free_port(), free_port()
        often = {"periodSeconds": 0.1, "timeoutSeconds": 60}
        ok = {"httpGet": {"path": "/hello", "port": "web"}, **often}
        tcp = {"tcpSocket": {"port": port}, **often}
        absent = {"httpGet": {"path": "/absent", "port": dead}, "failureThreshold": 1, **often}
        ports = [{"name": "web", "containerPort": port}]
        probed = container(registry, ports=ports, startupProbe=ok, readinessProbe=ok, livenessProbe=tcp)
        api.put(PODS, a_pod(probed, container(registry, name="unready", readinessProbe=absent), port=port))
        api.put(PODS, a_pod(container(registry, livenessProbe=absent), name="dead", port=dead))
        async with running_node(tmp_path, api) as node:
            await node.until_event("Readiness probe failed: unready: the Pod listens on port")
            shown = await node.until("demo", lambda pod: pod["status"]["containerStatuses"][0]["ready"])
            assert condition(shown, "Ready") == "False"
            await node.until_event("Liveness probe failed: hello: HTTP probe failed with statuscode: 404")
            await node.until_event("Container hello failed liveness probe, will be restarted")
            await node.until("dead", lambda pod: restarts(pod) >= 1)
            assert restarts(shown) == 0

    go(story())
