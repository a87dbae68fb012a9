"""The Pods of a node from its options."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import RecordedEvents, a_pod, until, waiting
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
