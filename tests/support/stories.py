"""Stories of Pods with real gateways: modules in a registry, a request, and what the API shows of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx

from tests.conftest import ROOT
from tests.support import guests
from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import PodNode
from tests.support.publishing import publish, says
from tests.support.registry import Registry
from wagi_gateway.node.api import PODS, Object

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


def publish_stories(registry: Registry) -> None:
    """Publishes the modules `hello`, `env`, `reads` and `sleeps`."""
    publish(registry, "hello:1", says("hello world\n"))
    publish(registry, "env:1", ROOT / "samples/c/env.wasm")
    publish(registry, "reads:1", READS)
    publish(registry, "sleeps:1", guests.sleeps(2_000_000_000, then_says=guests.CONTENT_TYPE + b"late"))


def container(registry: Registry, module: str = "hello", **fields: Any) -> dict[str, Any]:
    """A container of one of these modules."""
    return {"name": "hello", "image": f"{registry.address}/{module}:1", **fields}


def go(story: Coroutine[Any, Any, None]) -> None:
    """Runs a story."""
    asyncio.run(story)


async def get(port: int, path: str = "/hello", host: str = "127.0.0.1") -> str:
    """The body of an answer with status 200."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{host}:{port}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


def pod_ip(api: MemoryApi, name: str) -> str:
    """The address of a Pod as the API shows it."""
    (pod,) = (one for one in api.objects(PODS) if one["metadata"]["name"] == name)
    return str(pod["status"]["podIP"])


def restarts(pod: Object) -> int:
    """The restarts of the first container."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def last_state(pod: Object) -> Object:
    """The end of the last run of the first container."""
    ended: Object = (pod["status"]["containerStatuses"][0].get("lastState") or {}).get("terminated") or {}
    return ended


def pid_of(node: PodNode, name: str = "demo") -> int:
    """The process of a Pod's gateway."""
    pid = node.pods.container("default", name, "hello").pid
    assert pid is not None
    return pid
