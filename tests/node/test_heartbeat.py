"""The heartbeat: whatever happens to the Node in the cluster, it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import EVENTS, LEASES, NODES, ApiError, ApiUnreachable, Kind, Object
from wagi_gateway.node.capacity import Pressure
from wagi_gateway.node.events import Events
from wagi_gateway.node.heartbeat import Heartbeat
from wagi_gateway.node.lease import NAMESPACE, Lease, LeaseLost
from wagi_gateway.node.options import NodeOptions


class Beating:
    """A node without a server, whose clock a test sets."""

    def __init__(self, directory: Path) -> None:
        self.api = MemoryApi()
        self.now = 0.0
        self.recoveries: list[float] = []
        self.pressure = Pressure()
        options = NodeOptions(name="n", state_directory=directory, lease_duration=1)
        self.events = Events(self.api, "n")
        self.heartbeat = Heartbeat(
            self.api,
            options,
            Lease(self.api, options, "n_1"),
            self.events,
            ("10.0.0.1",),
            measure=lambda: self.pressure,
            clock=lambda: self.now,
            recovered=lambda: self.recoveries.append(self.now),
        )
        self.heartbeat.set_ready(None)

    @property
    def node(self) -> Object:
        (found,) = self.api.objects(NODES)
        return found

    def ready(self) -> Object:
        """The condition Ready."""
        (found,) = (one for one in self.node["status"]["conditions"] if one["type"] == "Ready")
        return dict(found)

    async def calls(self) -> list[str]:
        """The calls of one beat."""
        self.api.calls.clear()
        await self.heartbeat.beat()
        return [f"{verb} {kind.plural}" for verb, kind, _ in self.api.calls]


def beating(directory: Path, use: Callable[[Beating], Awaitable[None]]) -> None:
    async def go() -> None:
        async with asyncio.timeout(60):
            await use(Beating(directory))

    asyncio.run(go())


@pytest.mark.parametrize("node", [{"metadata": {}}, {"metadata": None}, {"metadata": {"uid": "u"}, "status": 7}])
def test_an_answer_without_its_form_is_tried_again(
    tmp_path: Path, node: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(beating: Beating) -> None:
        read, answers = beating.api.get, [node]

        async def get(kind: Kind, name: str, namespace: str | None = None) -> Object:
            return answers.pop() if kind == NODES and answers else await read(kind, name, namespace)

        monkeypatch.setattr(beating.api, "get", get)
        running = asyncio.create_task(beating.heartbeat.run())
        await beating.heartbeat.flush()
        assert (answers, beating.ready()["status"], running.done()) == ([], "True", False)
        running.cancel()

    beating(tmp_path, use)


def test_the_first_beat_registers_the_node(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        assert (await node.calls())[:2] == ["get nodes", "create nodes"]
        assert node.ready()["status"] == "True"
        assert node.node["status"]["addresses"] == [{"type": "InternalIP", "address": "10.0.0.1"}]
        (lease,) = node.api.objects(LEASES)
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node.node["metadata"]["uid"]

    beating(tmp_path, use)


def test_a_quiet_beat_reads_the_node_and_renews_the_lease(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        assert await node.calls() == ["get nodes", "replace leases"]

    beating(tmp_path, use)


def test_the_status_is_written_from_time_to_time(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        node.now = 300
        assert "patch/status nodes" in await node.calls()

    beating(tmp_path, use)


def test_what_the_node_controller_wrote_after_a_gap_is_undone(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
        await node.api.patch(NODES, "n", {"status": {"conditions": [unknown]}}, subresource="status")
        await node.calls()
        assert (node.ready()["status"], node.ready()["reason"]) == ("True", "KubeletReady")

    beating(tmp_path, use)


def test_a_deleted_node_comes_back_with_its_lease(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        before = node.node["metadata"]["uid"]
        await node.api.delete(NODES, "n")
        await node.api.delete(LEASES, "n", NAMESPACE)
        with pytest.raises(ApiError):  # of the Lease, which the next beat finds missing
            await node.calls()
        await node.calls()
        assert node.node["metadata"]["uid"] != before
        (lease,) = node.api.objects(LEASES)
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node.node["metadata"]["uid"]

    beating(tmp_path, use)


def test_pressure_and_readiness_are_reported(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        node.pressure = Pressure(disk=True)
        node.heartbeat.set_ready("the node is stopped")
        await node.calls()
        statuses = {one["type"]: one["status"] for one in node.node["status"]["conditions"]}
        assert (statuses["DiskPressure"], statuses["Ready"]) == ("True", "False")
        assert node.ready()["message"] == "the node is stopped"

    beating(tmp_path, use)


def test_each_change_of_readiness_is_an_event(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        writer = asyncio.create_task(node.events.run())
        for why in (None, None, "the node is stopped"):
            node.heartbeat.set_ready(why)
            node.now += 1000
            await node.heartbeat.beat()
        await node.events.flush()
        writer.cancel()
        assert [event["reason"] for event in node.api.objects(EVENTS)] == ["NodeReady", "NodeNotReady"]

    beating(tmp_path, use)


@pytest.mark.parametrize("error", [ApiUnreachable("away"), ApiError(403, "Forbidden", "for a second"), OSError("disk")])
def test_errors_are_tried_again(tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def use(node: Beating) -> None:
        node.api.failures += [error, error]
        task = asyncio.create_task(node.heartbeat.run())
        await node.heartbeat.flush()
        node.heartbeat.set_ready("the node is stopped")
        await node.heartbeat.flush()
        task.cancel()
        assert len(node.recoveries) == 1

    beating(tmp_path, use)
    assert caplog.text.count("the heartbeat failed") == 1
    assert "the heartbeat goes on after 2 failures" in caplog.text


def test_a_change_of_readiness_does_not_wait_for_the_next_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeOptions, "heartbeat", 3600)

    async def use(node: Beating) -> None:
        task = asyncio.create_task(node.heartbeat.run())
        await node.heartbeat.flush()
        node.heartbeat.set_ready("the node is stopped")
        await node.heartbeat.flush()
        assert node.ready()["status"] == "False"
        task.cancel()

    beating(tmp_path, use)


def test_a_lost_lease_ends_the_heartbeat(tmp_path: Path) -> None:
    async def use(node: Beating) -> None:
        await node.calls()
        (lease,) = node.api.objects(LEASES)
        node.api.put(LEASES, lease | {"spec": {"holderIdentity": "n_2"}})
        await node.heartbeat.run()

    with pytest.raises(LeaseLost):
        beating(tmp_path, use)
