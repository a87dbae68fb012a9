"""The Pods of a node from its options."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import RecordedEvents, a_pod, until, waiting
from wagi_gateway.errors import StartupError
from wagi_gateway.node.api import PODS
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.pods.creation import create_pods


def test_the_ceiling_of_the_options_holds(tmp_path: Path) -> None:
    options = NodeOptions.model_validate(
        {"name": "n", "state_directory": tmp_path, "ceiling": {"memory": "1MiB", "time": "5s", "concurrency": 2}}
    )
    pod = a_pod({"resources": {"limits": {"memory": "2Mi"}}}, port=options.port)

    async def story() -> str:
        api = MemoryApi()
        pods = create_pods(options, api, RecordedEvents(), ("192.0.2.1",), {})
        await pods.changed(api.put(PODS, pod))
        await until(lambda: waiting(pods.pods()[0]) == "CreateContainerConfigError")
        status = pods.pods()[0]["status"]
        await pods.stop()
        assert status["podIP"] == "192.0.2.1"
        return str(status["containerStatuses"][0]["state"]["waiting"]["message"])

    message = asyncio.run(story())
    assert "ceiling.memory" in message
    assert "the node's own" in message


def test_pods_get_addresses_of_the_range_of_the_options(tmp_path: Path) -> None:
    options = NodeOptions(name="n", state_directory=tmp_path, pod_cidr="127.1.2.0/28")

    async def story() -> str:
        api = MemoryApi()
        pods = create_pods(options, api, RecordedEvents(), ("127.0.0.1",), {})
        await pods.changed(api.put(PODS, a_pod({"image": "example.invalid/hello:1"})))
        await until(lambda: "podIP" in pods.pods()[0]["status"])
        status = pods.pods()[0]["status"]
        await pods.stop()
        return str(status["podIP"])

    assert asyncio.run(story()) == "127.1.2.1"


@pytest.mark.parametrize(
    ("cidr", "what"),
    [
        ("192.0.2.0/28", r"192\.0\.2\.1 is no address of this machine"),
        ("127.0.0.0/28", r"has 127\.0\.0\.1, an address of the node; take a range without it"),
    ],
)
def test_a_range_without_addresses_for_pods_ends_the_start(tmp_path: Path, cidr: str, what: str) -> None:
    options = NodeOptions(name="n", state_directory=tmp_path, pod_cidr=cidr)
    with pytest.raises(StartupError, match=what):
        create_pods(options, MemoryApi(), RecordedEvents(), ("127.0.0.1",), {})
