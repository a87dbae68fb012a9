"""Pods of the Kubernetes API, and a node's runtime for them: gateways are real, the API is in memory."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import PODS, Object
from wagi_gateway.node.options import Ceiling
from wagi_gateway.node.pods.addresses import PodAddresses
from wagi_gateway.node.pods.ceiling import PodCeiling
from wagi_gateway.node.pods.forks import Forks
from wagi_gateway.node.pods.gateway_configuration import NodeTables
from wagi_gateway.node.pods.image_pull import ImagePuller, RegistryAccess
from wagi_gateway.node.pods.pods import Pods
from wagi_gateway.node.pods.resources import ControlGroups
from wagi_gateway.node.pods.runtime import PodRuntime
from wagi_gateway.node.reflector import Reflector

ANNOTATION = "alpha.wagi.krustlet.dev/"
NODE = "n"
ADDRESSES = PodAddresses("192.0.2.77", "192.0.2.1")
PATIENCE = 120.0
"""Seconds until a condition is given up; a busy machine starts a gateway in twenty."""


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def a_pod(
    *containers: Mapping[str, Any],
    name: str = "demo",
    port: int = 3001,
    annotations: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """A Pod that is bound to the node; a container's `route` and `allowed_hosts` go to the annotation."""
    listed = [{"name": "hello", "image": "r.example/hello:1", **one} for one in containers or ({},)]
    modules = {
        one["name"]: {
            "route": one.pop("route", f"/{one['name']}"),
            **({"allowed_hosts": one.pop("allowed_hosts")} if "allowed_hosts" in one else {}),
        }
        for one in listed
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "generation": 1,
            "annotations": {
                ANNOTATION + "default-host": f"127.0.0.1:{port}",
                ANNOTATION + "modules": json.dumps(modules),
                **(annotations or {}),
            },
            **(metadata or {}),
        },
        "spec": {"nodeName": NODE, "containers": listed, **spec},
    }


class RecordedEvents:
    """Events as `reason: message`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(
        self,
        about: Object,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002
    ) -> None:
        assert about["metadata"]["uid"]
        assert type in ("Normal", "Warning")
        self.lines.append(f"{reason}: {message}")

    @property
    def reasons(self) -> list[str]:
        """The reasons in order."""
        return [line.partition(":")[0] for line in self.lines]


def runtime(directory: Path, api: MemoryApi, events: RecordedEvents, **options: Any) -> PodRuntime:
    """A node below a directory; `ceiling` is a table of its options."""
    cache = directory / "cache"
    ceiling = Ceiling.model_validate(options.pop("ceiling", {}))
    return PodRuntime(
        **{
            "api": api,
            "events": events,
            "puller": ImagePuller(RegistryAccess(cache=cache)),
            "state_directory": directory / "state",
            "addresses": ADDRESSES,
            "tables": NodeTables(cache=cache),
            "ceiling": PodCeiling(ceiling, frozenset({10350})),
            "groups": ControlGroups(None),
            "forks": Forks(directory / "state"),
            "back_off": 0.2,
            "refresh": 0.5,
            "shutdown_grace": 5.0,
            **options,
        }
    )


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of another process, or of the disk
            await asyncio.sleep(0.05)


class PodNode:
    """Pods behind a reflector, as the node has them."""

    def __init__(self, pods: Pods, api: MemoryApi, events: RecordedEvents) -> None:
        self.pods = pods
        self.api = api
        self.events = events

    async def until(self, name: str, condition: Callable[[Object], bool]) -> Object:
        """The Pod, once the API shows what is awaited; `{}` stands for a Pod that is gone."""
        shown: Object = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = [one for one in self.api.objects(PODS) if one["metadata"]["name"] == name]
                    shown = found[0] if found else {}
                    if condition(shown):
                        return shown
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{json.dumps(shown.get('status'), indent=1)}\n{self.events.lines}") from None

    async def until_event(self, text: str) -> None:
        """Waits for an Event whose line contains a text."""
        await self.until("", lambda _: any(text in line for line in self.events.lines))


@asynccontextmanager
async def running_node(
    directory: Path, api: MemoryApi, events: RecordedEvents | None = None, *, drain: bool = True, **options: Any
) -> AsyncIterator[PodNode]:
    """Runs the Pods of the API; at the end the gateways are ended, or left to the next node without `drain`."""
    events = events or RecordedEvents()
    pods = Pods(runtime(directory, api, events, **options))
    reflector = Reflector(api, PODS, f"spec.nodeName={NODE}", changed=pods.changed, deleted=pods.deleted, delay=0)
    reflector.expect(await pods.adopt())
    watcher = asyncio.create_task(reflector.run())
    try:
        yield PodNode(pods, api, events)
    finally:
        watcher.cancel()
        if drain:
            await pods.drain()
        await pods.stop()


def is_ready(pod: Object) -> bool:
    """Whether the API shows a Pod as Ready."""
    return condition(pod, "Ready") == "True"


def condition(pod: Object, kind: str) -> str:
    """The status of a condition; empty without one."""
    shown = (pod.get("status") or {}).get("conditions") or ()
    return next((str(one["status"]) for one in shown if one["type"] == kind), "")


def waiting(pod: Object) -> str:
    """The reason why the first container waits; empty if it does not."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return str((statuses[0].get("state") or {}).get("waiting", {}).get("reason", ""))
