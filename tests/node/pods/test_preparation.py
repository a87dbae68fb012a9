"""What a Pod needs before it starts, and what is shown while it lacks that: volumes, variables, images and a port."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod, free_port, is_ready, running_node, until, waiting
from tests.support.publishing import publish, says
from tests.support.registry import Registry
from tests.support.stories import container, get, go, pid_of, restarts
from wagi_gateway.node.api import CONFIG_MAPS, PODS, SECRETS, SERVICES, ApiError, Kind, Object
from wagi_gateway.node.pods import gateway_log
from wagi_gateway.node.server.containers import UnknownContainer, UnknownPod

pytestmark = pytest.mark.timeout(500)


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


def test_a_directory_of_the_node(registry: Registry, tmp_path: Path) -> None:
    """A guest of another Pod, which may write to the one above it, puts a link in its place."""

    async def story() -> None:
        api, port, shared = MemoryApi(), free_port(), tmp_path / "shared"
        for directory in (shared / "mine", tmp_path / "outside"):
            directory.mkdir(parents=True)
            (directory / "key").write_text(directory.name)
        mounts = [{"name": "mine", "mountPath": "/mine"}, {"name": "mine", "mountPath": "/sub", "subPath": "a/b"}]
        volumes = [{"name": "mine", "hostPath": {"path": str(shared / "mine")}}]
        reads = container(registry, "reads", volumeMounts=mounts)
        api.put(PODS, a_pod(reads, port=port, volumes=volumes))
        async with running_node(tmp_path, api, ceiling={"host_paths": [str(shared)]}) as node:
            await node.until("demo", is_ready)
            assert await get(port) == "mine"
            assert (shared / "mine/a/b").is_dir()
            configuration = tmp_path / "state/pods/uid-demo/modules.toml"
            assert (await checked(configuration))[0] == 0
            (shared / "mine").rename(shared / "old")
            (shared / "mine").symlink_to(tmp_path / "outside")
            assert await get(port) == "mine"
            code, problems = await checked(configuration)
            assert code
            assert f"a symbolic link leads it out of {shared}; remove the link" in problems
            os.kill(pid_of(node), signal.SIGKILL)
            await node.until_event(f"hostPath {tmp_path}/outside is not permitted on this node (ceiling.host_paths)")
            assert [one.name for one in (tmp_path / "outside").iterdir()] == ["key"]

    go(story())


async def checked(configuration: Path) -> tuple[int | None, str]:
    """The exit code of `check`, which opens the directories as the gateway does, and what it says."""
    command = (sys.executable, "-m", "wagi_gateway", "check", "--format=json", str(configuration))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


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
