"""Pods from the API to a gateway that serves, and back: real gateways, a real registry, the API in memory."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.support import guests
from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import ANNOTATION, PodNode, a_pod, condition, free_port, is_ready, running_node, until, waiting
from tests.support.publishing import publish, says
from tests.support.registry import Registry, running_registry
from wagi_gateway.node.address_range import AddressRange
from wagi_gateway.node.api import CONFIG_MAPS, PODS, SECRETS, SERVICES, ApiError, ApiUnreachable, Kind, Object
from wagi_gateway.node.pods import gateway_log, pod_worker
from wagi_gateway.node.pods.address_pool import AddressPool
from wagi_gateway.node.pods.addresses import PodAddresses
from wagi_gateway.node.pods.process import start_time
from wagi_gateway.node.server.containers import UnknownContainer, UnknownPod
from wagi_gateway.node.server.gateway_metrics import scrape

pytestmark = pytest.mark.timeout(500)

READS = f"""(module {guests.FD_WRITE} {guests.FD_READ}
 (import "wasi_snapshot_preview1" "path_open"
  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (memory (export "memory") 1)
 (data (i32.const 1024) {guests.wat_string(guests.CONTENT_TYPE)}) (data (i32.const 2048) "key")
 {guests.WRITE}
 (func (export "_start")
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE)}))
  (if (call $open (i32.const 3) (i32.const 1) (i32.const 2048) (i32.const 3) (i32.const 0)
   (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 512)) (then unreachable))
  (i32.store (i32.const 520) (i32.const 4096)) (i32.store (i32.const 524) (i32.const 100))
  (drop (call $fd_read (i32.load (i32.const 512)) (i32.const 520) (i32.const 1) (i32.const 528)))
  (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 528)))))"""
"""Prints the file `key` of its first volume, following symbolic links."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        publish(registry, "hello:1", says("hello world\n"))
        publish(registry, "env:1", ROOT / "samples/c/env.wasm")
        publish(registry, "reads:1", READS)
        publish(registry, "sleeps:1", guests.sleeps(2_000_000_000, then_says=guests.CONTENT_TYPE + b"late"))
        yield registry


def container(registry: Registry, module: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"name": "hello", "image": f"{registry.address}/{module}:1", **fields}


def go(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def get(port: int, path: str = "/hello", host: str = "127.0.0.1") -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{host}:{port}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


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


def pod_ip(api: MemoryApi, name: str) -> str:
    (pod,) = (one for one in api.objects(PODS) if one["metadata"]["name"] == name)
    return str(pod["status"]["podIP"])


def restarts(pod: Object) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def last_state(pod: Object) -> Object:
    """The end of the last run of the first container."""
    ended: Object = (pod["status"]["containerStatuses"][0].get("lastState") or {}).get("terminated") or {}
    return ended


def pid_of(node: PodNode, name: str = "demo") -> int:
    pid = node.pods.container("default", name, "hello").pid
    assert pid is not None
    return pid


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


def test_variables_and_files_of_the_cluster(registry: Registry, tmp_path: Path) -> None:
    """A guest reads them; the files follow their ConfigMap, what is missing is said and awaited."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        reads = container(registry, "reads", name="reads", volumeMounts=[{"name": "config", "mountPath": "/config"}])
        env = container(
            registry,
            "env",
            env=[{"name": "WHO", "valueFrom": {"secretKeyRef": {"name": "s", "key": "who"}}}],
            envFrom=[{"configMapRef": {"name": "c"}}],
        )
        api.put(PODS, a_pod(env, reads, port=port, volumes=[{"name": "config", "configMap": {"name": "c"}}]))
        async with running_node(tmp_path, api) as node:
            await node.until_event('FailedMount: MountVolume.SetUp failed for volume "config" : configmap "c" not')
            await api.create(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"key": "one", "PATH_INFO": "x"}})
            await node.until("demo", lambda pod: waiting(pod) == "CreateContainerConfigError")
            await api.create(SECRETS, {"metadata": {"name": "s"}, "data": {"who": base64.b64encode(b"me").decode()}})
            await node.until("demo", is_ready)
            text = await get(port)
            assert "WHO=me" in text
            assert "key=one" in text
            assert any(line.startswith("InvalidEnvironmentVariableNames") for line in node.events.lines)
            assert await get(port, "/reads") == "one"
            api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"key": "two"}})
            key = tmp_path / "state/pods/uid-demo/volumes/config/key"
            await until(lambda: key.read_text() == "two")
            assert await get(port, "/reads") == "two"

    go(story())


def test_services_and_files_by_sub_path(registry: Registry, tmp_path: Path) -> None:
    """Variables of Services come with a start; a file by `subPath` keeps the content of the start, as a kubelet's."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        service = {"spec": {"clusterIP": "10.0.0.7", "ports": [{"port": 80}]}}
        for name in ("kubernetes", "server", "web"):
            api.put(SERVICES, {"metadata": {"name": name}, **service})
        api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"app.key": "one", "other": "x"}})
        mounts = [{"name": "config", "mountPath": "/etc/key", "subPath": "app.key"}]
        reads = container(registry, "reads", name="reads", volumeMounts=mounts)
        env = container(registry, "env", env=[{"name": "URL", "value": "http://$(WEB_SERVICE_HOST)"}])
        pod = a_pod(env, reads, port=port, volumes=[{"name": "config", "configMap": {"name": "c"}}])
        api.put(PODS, pod)
        async with running_node(tmp_path, api) as node:
            await node.until("demo", is_ready)
            text = await get(port)
            for line in ("KUBERNETES_SERVICE_HOST=10.0.0.7", "WEB_PORT_80_TCP_ADDR=10.0.0.7", "URL=http://10.0.0.7"):
                assert line in text
            assert any("[SERVER_PORT] of Services were skipped" in line for line in node.events.lines)
            assert await get(port, "/reads") == "one"
            api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"app.key": "two"}})
            key = tmp_path / "state/pods/uid-demo/volumes/config/app.key"
            await until(lambda: key.read_text() == "two")
            assert await get(port, "/reads") == "one"
            debugged = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}
            await api.patch(PODS, "demo", debugged, "default")
            await node.until_event("Unsupported: ephemeral containers (debugger) are not started")
            os.kill(pid_of(node), signal.SIGKILL)
            shown = await node.until("demo", lambda pod: is_ready(pod) and restarts(pod) == 1)
            assert await get(port, "/reads") == "two"
            assert shown["status"]["ephemeralContainerStatuses"][0]["name"] == "debugger"

    go(story())


def test_what_a_start_needs_is_awaited(registry: Registry, tmp_path: Path) -> None:
    """A right to Services, a subPath of a file that comes later, and a valid name; Services beyond the bound."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        many = [{"port": number} for number in range(1, 400)]
        api.put(SERVICES, {"metadata": {"name": "many"}, "spec": {"clusterIP": "10.0.0.7", "ports": many}})
        api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {}})
        mounts = [{"name": "config", "mountPath": "/etc/key", "subPath": "key"}]
        reads = container(registry, "reads", volumeMounts=mounts)
        api.put(PODS, a_pod(reads, port=port, volumes=[{"name": "config", "configMap": {"name": "c"}}]))
        named = {"name": "PATH_INFO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        terminal: dict[str, Any] = dict.fromkeys(("stdin", "stdinOnce", "tty"), True)
        terminal["lifecycle"] = {"stopSignal": "SIGQUIT"}
        odd = container(registry, env=[named], **terminal)
        api.forbidden = {SERVICES}
        api.put(PODS, a_pod(odd, name="odd", port=free_port(), hostPID=True))
        async with running_node(tmp_path, api) as node:
            await node.until_event("Failed: Error: services is forbidden")
            api.forbidden.clear()
            await node.until("odd", lambda pod: waiting(pod) == "CreateContainerConfigError")
            assert any("PATH_INFO" in line and "the request sets this variable" in line for line in node.events.lines)
            (warnings,) = [line for line in node.events.lines if "hostPID" in line]
            assert all(f": {name} has no effect" in warnings for name in ("hostPID", "stdin", "tty", "stopSignal"))
            await node.until_event("subPath key: the volume has no such file")
            api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"key": "one"}})
            await node.until("demo", is_ready)
            assert await get(port) == "one"
            assert any(line.startswith("ServiceLinksSkipped: Variables of 1 Services") for line in node.events.lines)
            log = tmp_path / "state/pods/uid-demo/gateway.log"
            with log.open("ab") as opened:
                opened.write(bytes(gateway_log.MAX_SIZE + 1))
            await until(lambda: log.stat().st_size < gateway_log.MAX_SIZE)

    go(story())


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


def test_a_right_that_is_missing_is_shown(registry: Registry, tmp_path: Path) -> None:
    """A Pod that names no token serves without one; one that reads a ConfigMap waits for the right."""

    class Restricted(MemoryApi):
        may_read = False

        async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
            if kind == CONFIG_MAPS and not self.may_read:
                raise ApiError(403, "Forbidden", f'configmaps "{name}" is forbidden')
            return await super().get(kind, name, namespace)

    def forbidden(*_: object) -> Object:
        raise ApiError(403, "Forbidden", "serviceaccounts is forbidden")

    async def story() -> None:
        api = Restricted()
        api.tokens = forbidden
        api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"WHO": "me"}})
        token = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
        volumes = [{"name": "kube-api-access-1", **token}]
        env = container(registry, "env", envFrom=[{"configMapRef": {"name": "c"}}])
        api.put(PODS, a_pod(env, port=free_port(), volumes=volumes))
        async with running_node(tmp_path, api) as node:
            shown = await node.until("demo", lambda pod: waiting(pod) == "CreateContainerConfigError")
            message = shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
            assert message == 'configmaps "c" is forbidden (403 Forbidden)'
            api.may_read = True
            await node.until("demo", is_ready)
            assert any(line.startswith('TokenForbidden: volume "kube-api-access-1" has') for line in node.events.lines)

    go(story())


def test_mistakes_are_shown_until_they_are_mended(registry: Registry, tmp_path: Path) -> None:
    async def story() -> None:
        api, port, taken = MemoryApi(), free_port(), free_port()
        modules = "alpha.wagi.krustlet.dev/modules"
        api.put(PODS, a_pod(container(registry), name="bad", port=port, annotations={modules: "{"}))
        api.put(PODS, a_pod({**container(registry), "image": f"{registry.address}/later:1"}, name="later", port=taken))
        once = a_pod(container(registry), name="never", annotations={modules: "{"}, restartPolicy="Never")
        api.put(PODS, once)
        async with running_node(tmp_path, api) as node:
            shown = await node.until("bad", lambda pod: waiting(pod) == "CreateContainerConfigError")
            assert "is not valid JSON" in shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
            mended = {"metadata": {"annotations": {modules: '{"hello": {"route": "/hello"}}'}}}
            await api.patch(PODS, "bad", mended, "default")
            await node.until_event("Failed: Error: ErrImagePull")
            await node.until("later", lambda pod: waiting(pod) == "ImagePullBackOff")
            with pytest.raises(UnknownContainer):
                node.pods.container("default", "later", "ghost")
            with pytest.raises(UnknownPod):
                node.pods.container("default", "ghost", "hello")
            assert node.pods.container("default", "bad", "hello").route == "/hello"
            assert node.pods.container("default", "never", "hello").route == ""
            assert node.pods.container("default", "later", "hello").waiting in ("ErrImagePull", "ImagePullBackOff")
            await asyncio.to_thread(publish, registry, "later:1", says("late\n"))
            await node.until("bad", is_ready)
            await node.until("later", is_ready)
            failed = await node.until("never", lambda pod: pod.get("status", {}).get("phase") == "Failed")
            assert failed["status"]["reason"] == "CreateContainerConfigError"
            await api.create(PODS, a_pod(container(registry), name="clash", port=taken))
            shown = await node.until("clash", lambda pod: waiting(pod) == "RunContainerError")
            message = shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
            assert message == f"127.0.0.1:{taken}: the port is taken on this node by Pod default/later"
            await api.delete(PODS, "later", "default")
            await node.until("clash", is_ready)

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


def test_pods_with_addresses_of_their_own(registry: Registry, tmp_path: Path) -> None:
    """Two of a port, one of the node's address beside them, and one more than there are addresses."""

    async def story() -> None:
        api, port = MemoryApi(), free_port()
        listens = {ANNOTATION + "default-host": f"0.0.0.0:{port}"}
        variable = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        shown = container(registry, "env", env=[variable], readinessProbe={"tcpSocket": {"port": port}})

        def replica(name: str, **spec: Any) -> Object:
            return a_pod(shown, name=name, annotations=listens, **spec)

        def addresses() -> PodAddresses:
            return PodAddresses("192.0.2.77", "192.0.2.1", AddressPool(AddressRange("127.9.8.0/30")), ("127.0.0.1",))

        async with running_node(tmp_path, api, addresses=addresses(), drain=False) as node:
            for pod in (replica("a"), replica("b", restartPolicy="Never"), replica("host", hostNetwork=True)):
                await api.create(PODS, pod)
                status = (await node.until(pod["metadata"]["name"], is_ready))["status"]
                assert status["podIPs"] == [{"ip": status["podIP"]}]
            ips = {name: pod_ip(api, name) for name in ("a", "b", "host")}
            assert ips == {"a": "127.9.8.1", "b": "127.9.8.2", "host": "192.0.2.77"}
            for name, ip in ips.items():
                assert f"IP={ip}" in await get(port, host="127.0.0.1" if name == "host" else ip)
            taken = {ANNOTATION + "default-host": f"{ips['a']}:{free_port()}"}
            await api.create(PODS, a_pod(shown, name="thief", annotations=taken, hostNetwork=True))
            await node.until_event(f"Failed: Error: {ips['a']}: is an address of Pods, and not of this one (pod_cidr)")
            await api.create(PODS, replica("more"))
            await node.until_event("FailedCreatePodSandBox: Failed to create pod sandbox: all 2 addresses of 127.9.8.0")
            waits = await node.until("more", lambda pod: waiting(pod) == "ContainerCreating")
            assert "podIP" not in waits["status"]
        async with running_node(tmp_path, api, addresses=addresses()) as node:
            await node.until("more", lambda pod: waiting(pod) == "ContainerCreating")
            await api.delete(PODS, "a", "default")
            await node.until("more", is_ready)
            assert {name: pod_ip(api, name) for name in ("b", "more")} == {"b": ips["b"], "more": ips["a"]}
            os.kill(pid_of(node, "b"), signal.SIGKILL)
            ended = await node.until("b", lambda pod: pod["status"]["phase"] == "Failed")
            assert ended["status"]["podIP"] == ips["b"]
            await api.create(PODS, replica("last"))
            await node.until("last", is_ready)
            assert pod_ip(api, "last") == ips["b"]

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
