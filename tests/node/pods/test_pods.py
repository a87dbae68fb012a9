"""Pods from the API to a gateway that serves, and back: real gateways, a real registry, the API in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import (
    a_pod,
    free_port,
    is_ready,
    running_node,
)
from tests.support.publishing import publish, says
from tests.support.registry import Registry, running_registry
from wagi_gateway.node.api import PODS

pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        publish(registry, "hello:1", says("hello world\n"))
        publish(registry, "env:1", ROOT / "samples/c/env.wasm")
        yield registry


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("node")


def hello(registry: Registry, **fields: Any) -> dict[str, Any]:
    return {"name": "hello", "image": f"{registry.address}/hello:1", **fields}


def go(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def get(port: int, path: str = "/hello") -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_pod_serves_until_it_is_deleted(registry: Registry, cache: Path) -> None:
    async def story() -> None:
        api, port = MemoryApi(), free_port()
        api.put(PODS, a_pod(hello(registry), port=port, terminationGracePeriodSeconds=20))
        async with running_node(cache, api) as node:
            shown = await node.until("demo", is_ready)
            assert await get(port) == "hello world\n"
            status = shown["status"]
            assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "192.0.2.77", "192.0.2.1")
            (container,) = status["containerStatuses"]
            assert container["imageID"].startswith(f"{registry.address}/hello@sha256:")
            assert container["started"]
            assert "running" in container["state"]
            assert "Pulled" in node.events.reasons
            await api.delete(PODS, "demo", "default")
            await node.until("demo", lambda pod: not pod)
            assert not list((cache / "state/pods").iterdir())
            assert node.events.reasons[-1] == "Killing"
            with pytest.raises(httpx.ConnectError):
                await get(port)

    go(story())
