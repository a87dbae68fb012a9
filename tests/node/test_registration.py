"""The Node object: what is created, and what is repaired."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import NODES, ApiError, Object
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.registration import Registration, labels, own_address, status, taints

OPTIONS = NodeOptions(name="n", labels={"agentpool": "mywasipool"}, taints=("dedicated:NoSchedule",))
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def test_a_node_has_the_labels_of_the_article() -> None:
    found = labels(OPTIONS)
    assert {key for key, value in found.items() if value == "wasm32-wagi"} == {
        "kubernetes.io/arch",
        "beta.kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/os",
    }
    assert found["agentpool"] == "mywasipool"
    assert found["kubernetes.io/hostname"] == "n"


def test_the_label_of_a_long_name_is_a_valid_one() -> None:
    assert labels(NodeOptions(name="a" * 62 + ".b"))["kubernetes.io/hostname"] == "a" * 62


def test_the_status_has_no_name_that_might_not_resolve(tmp_path: Path) -> None:
    found = status(NodeOptions(state_directory=tmp_path, port=4711), ("10.0.0.1", "fd00::1"))
    assert found["addresses"] == [
        {"type": "InternalIP", "address": "10.0.0.1"},
        {"type": "InternalIP", "address": "fd00::1"},
    ]
    assert found["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 4711}}
    assert found["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
    assert found["allocatable"]["pods"] == "110"


def test_the_address_is_that_of_the_way_to_the_server() -> None:
    assert asyncio.run(own_address("https://127.0.0.1:6443")) == "127.0.0.1"
    assert asyncio.run(own_address("https://[::1]")) == "::1"


def test_a_missing_node_is_created() -> None:
    async def go() -> None:
        api = MemoryApi()
        options = NodeOptions(name="n", provider_id="azure:///x")
        node = await Registration(api, options).node({"conditions": []})
        assert node == api.objects(NODES)[0]
        assert node["spec"] == {"taints": taints(options), "providerID": "azure:///x"}
        assert node["status"] == {"conditions": []}

    asyncio.run(go())


def test_a_node_that_appears_meanwhile_is_used() -> None:
    async def go() -> None:
        api = MemoryApi()

        def race(_: Object) -> Object:
            api.put(NODES, {"metadata": {"name": "n", "uid": "of another"}, "spec": {}})
            raise ApiError(409, "AlreadyExists", "")

        api.answers[NODES] = race
        node = await Registration(api, OPTIONS).node({})
        assert node["metadata"]["uid"] == "of another"

    asyncio.run(go())


@pytest.mark.parametrize("code", [403, 500])
@pytest.mark.parametrize("which", [0, 1], ids=["get", "create"])
def test_other_errors_are_the_callers(code: int, which: int) -> None:
    async def go() -> None:
        api = MemoryApi()
        api.failures += [ApiError(404, "NotFound", "")] * which + [ApiError(code, "", "")]
        await Registration(api, OPTIONS).node({})

    with pytest.raises(ApiError, match=str(code)):
        asyncio.run(go())


def stored(**changes: object) -> Object:
    """A Node as it is registered, but for `labels` or `taints`."""
    node: Object = {"metadata": {"name": "n", "labels": labels(OPTIONS)}, "spec": {"taints": taints(OPTIONS)}}
    node["metadata"] |= {key: value for key, value in changes.items() if key == "labels"}
    node["spec"] |= {key: value for key, value in changes.items() if key == "taints"}
    return node


REPAIRS: dict[str, tuple[Object, int]] = {
    "nothing": (stored(), 0),
    "labels of others": (stored(labels=labels(OPTIONS) | {"x": "y"}), 0),
    "taints of others": (stored(taints=[NOT_READY, *taints(OPTIONS)]), 0),
    "a missing label": (stored(labels={"x": "y"}), 1),
    "a changed label": (stored(labels=labels(OPTIONS) | {"x": "y", "kubernetes.io/arch": "amd64"}), 1),
    "no taints": (stored(taints=None), 1),
    "a missing taint": (stored(taints=[NOT_READY, *taints(OPTIONS)[1:]]), 1),
    "a changed taint": (stored(taints=[taints(OPTIONS)[0] | {"value": "x"}, *taints(OPTIONS)[1:]]), 1),
    "both": (stored(labels={}, taints=[]), 2),
}


@pytest.mark.parametrize(("node", "patches"), REPAIRS.values(), ids=REPAIRS)
def test_what_others_changed_is_restored(node: Object, patches: int) -> None:
    async def go() -> None:
        api = MemoryApi()
        before = api.put(NODES, node)
        await Registration(api, OPTIONS).repair(before)
        (after,) = api.objects(NODES)
        assert [verb for verb, _, _ in api.calls] == ["patch"] * patches
        assert labels(OPTIONS).items() <= after["metadata"]["labels"].items()
        assert ("x" in after["metadata"]["labels"]) == ("x" in node["metadata"]["labels"])
        assert all(one in after["spec"]["taints"] for one in taints(OPTIONS))
        assert (NOT_READY in after["spec"]["taints"]) == (NOT_READY in (node["spec"]["taints"] or []))

    asyncio.run(go())


def test_taints_that_may_not_be_changed_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        api = MemoryApi()
        node = api.put(NODES, stored(taints=[]))
        registration = Registration(api, OPTIONS)
        api.failures.append(ApiError(403, "Forbidden", "is not allowed to modify taints"))
        await registration.repair(node)
        await registration.repair(node)
        assert len(api.calls) == 1

    asyncio.run(go())
    assert "delete the Node: it comes back" in caplog.text


def test_a_conflict_is_the_callers() -> None:
    async def go() -> None:
        api = MemoryApi()
        node = api.put(NODES, stored(taints=[]))
        api.failures.append(ApiError(409, "Conflict", ""))
        await Registration(api, OPTIONS).repair(node)

    with pytest.raises(ApiError):
        asyncio.run(go())
