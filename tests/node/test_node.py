"""The node from start to end: what runs when, and what refuses or ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes_api import ConnectedApi
from tests.support.node_identity import identity_of
from tests.support.pods import a_pod
from tests.support.signer import signed
from wagi_gateway.errors import StartupError
from wagi_gateway.node import node as module
from wagi_gateway.node import signing
from wagi_gateway.node.api import (
    CERTIFICATE_SIGNING_REQUESTS,
    LEASES,
    NODES,
    PODS,
    ApiError,
    ApiUnreachable,
    Kind,
    Object,
)
from wagi_gateway.node.identity import Identity
from wagi_gateway.node.node import NodeParts, Served, run_node
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.pods.folder import PodFolder
from wagi_gateway.node.pods.process import start_time
from wagi_gateway.node.pods.state import PodState, Run
from wagi_gateway.node.signing import Names

ADOPTED: Object = {"metadata": {"name": "adopted", "namespace": "default", "uid": "u", "resourceVersion": "1"}}


def ready(api: ConnectedApi) -> str:
    """The status of the condition Ready."""
    (node,) = api.objects(NODES)
    return next(str(one["status"]) for one in node["status"]["conditions"] if one["type"] == "Ready")


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition of the API, which another task makes true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Recorded:
    """Pods and an API that record what the node does with them; the node is stopped once it is ready."""

    def __init__(self, api: ConnectedApi) -> None:
        self.done: list[str] = []
        self.build: Callable[[NodeParts], object] = lambda _: None
        self._api = api

    async def adopt(self) -> list[Object]:
        self.done.append("adopt")
        return [ADOPTED]

    async def changed(self, pod: Object) -> None:
        self.done.append(f"changed {pod['metadata']['name']}")

    async def deleted(self, pod: Object) -> None:
        self.done.append(f"deleted {pod['metadata']['name']}")

    async def drain(self) -> None:
        self.done.append("drain")

    async def stop(self) -> None:
        self.done.append("stop")

    async def serve(self) -> None:
        await until(lambda: bool(self._api.objects(NODES)) and ready(self._api) == "True")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async def served(self, parts: NodeParts) -> Served:
        self.build(parts)
        return Served(self, self.serve)


@pytest.fixture
def api() -> ConnectedApi:
    """An API with a Pod of the node."""
    api = ConnectedApi()
    api.put(PODS, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}})
    api.answers[CERTIFICATE_SIGNING_REQUESTS] = signed
    return api


@pytest.fixture(autouse=True)
def _no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def options(directory: Path, **more: object) -> NodeOptions:
    return NodeOptions.model_validate(
        {"name": "n", "state_directory": directory / "state", "lease_duration": 1, **more}
    )


def ran(
    api: ConnectedApi, options: NodeOptions, pods: Recorded | None = None, *, is_bootstrapped: bool = False
) -> list[str]:
    """What the node did with its Pods."""
    pods = pods or Recorded(api)

    async def connect(_: NodeOptions) -> Identity:
        return identity_of(api, is_bootstrapped=is_bootstrapped, is_node=is_bootstrapped)

    run_node(options, pods.served, connect)
    return pods.done


def test_a_node_from_start_to_end(tmp_path: Path, api: ConnectedApi) -> None:
    assert ran(api, options(tmp_path)) == ["adopt", "deleted adopted", "changed p", "drain", "stop"]
    assert ready(api) == "False"
    (node,) = api.objects(NODES)
    assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "127.0.0.1"}]
    (lease,) = api.objects(LEASES)
    assert "holderIdentity" not in lease["spec"]
    assert api.is_closed


def test_pods_may_be_left_to_the_next_process(tmp_path: Path, api: ConnectedApi) -> None:
    assert ran(api, options(tmp_path, at_stop="leave"))[-2:] == ["changed p", "stop"]


def test_pods_that_do_not_end_are_not_waited_for(
    tmp_path: Path, api: ConnectedApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Recorded):
        async def drain(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(module, "LAST_WORDS", 1)
    assert ran(api, options(tmp_path, shutdown_grace=0), Stuck(api))[-1] == "stop"
    assert "have not ended within shutdown_grace" in caplog.text


def test_an_api_server_that_is_away_at_the_end_delays_nothing(
    tmp_path: Path, api: ConnectedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Recorded):
        async def drain(self) -> None:
            api.failures += [ApiUnreachable("away")] * 10_000

    monkeypatch.setattr(module, "LAST_WORDS", 0.1)
    assert ran(api, options(tmp_path), Away(api))[-1] == "stop"


def test_a_start_waits_for_the_api_server(
    tmp_path: Path, api: ConnectedApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY", 0)
    api.failures += [ApiUnreachable("away"), ApiError(403, "Forbidden", "for a second")]
    assert "changed p" in ran(api, options(tmp_path))
    assert caplog.text.count("the start waits for the API server") == 1


def test_a_start_can_be_stopped(tmp_path: Path, api: ConnectedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    api.failures.append(ApiUnreachable("away"))
    assert ran(api, options(tmp_path)) == []
    assert api.is_closed


def test_a_bootstrapped_node_renews_its_certificate(tmp_path: Path, api: ConnectedApi) -> None:
    given = options(tmp_path)
    given.state_directory.mkdir()
    (given.state_directory / "client.pem").write_bytes(signing.self_signed(Names("n")))
    assert "changed p" in ran(api, given, is_bootstrapped=True)


def test_a_second_node_takes_over(tmp_path: Path, api: ConnectedApi) -> None:
    class Overtaken(Recorded):
        async def serve(self) -> None:
            await until(lambda: bool(api.objects(NODES)) and ready(api) == "True")
            (lease,) = api.objects(LEASES)
            api.calls.clear()
            api.put(LEASES, lease | {"spec": {"holderIdentity": "n_2"}})
            await asyncio.Event().wait()

    pods = Overtaken(api)
    with pytest.raises(StartupError, match=r"node n: n_2 has taken the Lease .*; this one ends; its Pods serve on"):
        ran(api, options(tmp_path), pods)
    assert pods.done[-1] == "stop"
    assert "drain" not in pods.done
    (lease,) = api.objects(LEASES)
    assert lease["spec"] == {"holderIdentity": "n_2"}
    assert [call for call in api.calls if call[1] in (NODES, PODS) and call[0] != "get"] == []


@pytest.fixture
def left(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway of an earlier process of the node."""
    with subprocess.Popen(["/bin/sleep", "300"]) as child:
        folder = PodFolder.of(tmp_path / "state", "uid-demo")
        folder.make()
        folder.save_manifest(a_pod())
        PodState("Running", run=Run(child.pid, start_time(child.pid), "r", "s", "127.0.0.1", 1)).save(folder.state)
        yield child
        child.kill()


class RenewedLease(ConnectedApi):
    """An API in which another node renews its Lease before each read of it."""

    def __init__(self, gateway: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self.seen: list[int | None] = []
        """The exit code of the gateway at each read."""
        self._gateway = gateway

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        if kind == LEASES:
            self.seen.append(self._gateway.poll())
            spec = {"holderIdentity": "n_2", "renewTime": str(len(self.seen))}
            self.put(LEASES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
        return await super().get(kind, name, namespace)


def test_a_refused_start_ends_the_gateways_that_were_left(
    tmp_path: Path, left: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The other node runs the Pods; until it is known to live the gateways serve."""
    api = RenewedLease(left)
    with pytest.raises(StartupError, match="a node of this name is alive: n_2 renews its Lease"):
        ran(api, options(tmp_path))
    left.wait(60)
    assert api.seen == [None, None]
    assert "the gateways of 1 Pods, which were left to it, are ended" in caplog.text


@pytest.mark.parametrize("at_stop", ["drain", "leave"])
def test_a_start_that_is_stopped_does_with_gateways_what_a_stop_does(
    tmp_path: Path, api: ConnectedApi, left: subprocess.Popen[bytes], at_stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(_: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    api.failures.append(ApiUnreachable("away"))
    assert ran(api, options(tmp_path, at_stop=at_stop)) == []
    assert (left.poll() is None) == (at_stop == "leave")


def test_a_port_that_is_taken_refuses_the_start(tmp_path: Path, api: ConnectedApi) -> None:
    class Deaf(Recorded):
        async def serve(self) -> None:
            raise OSError("the port is taken")

    with pytest.raises(OSError, match="the port is taken"):
        ran(api, options(tmp_path), Deaf(api))


def test_a_directory_that_another_node_uses_refuses_the_start(tmp_path: Path, api: ConnectedApi) -> None:
    given, pods = options(tmp_path), Recorded(api)
    pods.build = lambda _: run_node(given, pods.served)
    with pytest.raises(StartupError, match="another node uses this state_directory; stop it, or name another"):
        ran(api, given, pods)


def test_a_directory_that_cannot_be_made_refuses_the_start(tmp_path: Path, api: ConnectedApi) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StartupError, match="cannot be used as state_directory: "):
        ran(api, options(tmp_path))


def test_no_way_to_the_server_refuses_the_start(
    tmp_path: Path, api: ConnectedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nowhere(_: str) -> str:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(module, "own_address", nowhere)
    with pytest.raises(StartupError, match="Network is unreachable; name one with --address"):
        ran(api, options(tmp_path))
