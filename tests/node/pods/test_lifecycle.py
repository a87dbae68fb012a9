"""The hooks `postStart` and `preStop`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.pods import free_port
from wagi_gateway.node.pods import lifecycle as module
from wagi_gateway.node.pods.lifecycle import Hook, read_hook, run_hook
from wagi_gateway.node.pods.probes import ProbeFailed

REQUEST = {"path": "/x", "port": "web", "httpHeaders": [{"name": "X-A", "value": "1"}]}


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ({"sleep": {"seconds": 3}}, Hook("hello", sleep=3.0)),
        ({"httpGet": REQUEST}, Hook("hello", path="/x", port=3001, headers=(("X-A", "1"),))),
        ({"httpGet": {"port": 80, "scheme": "HTTPS"}}, Hook("hello", path="/", port=80, scheme="HTTPS")),
        ({"exec": {"command": ["x"]}}, None),
        ({}, None),
    ],
)
def test_the_fields_of_a_hook(hook: dict[str, Any], expected: Hook | None) -> None:
    container = {"name": "hello", "ports": [{"name": "web", "containerPort": 3001}], "lifecycle": {"preStop": hook}}
    assert read_hook(container, "preStop") == expected
    assert read_hook(container, "postStart") is None


def requested(**fields: Any) -> bytes:
    """The request that a hook sends to a server which answers 500."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 500 x\r\n\r\n")
        writer.close()

    async def go() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await run_hook(Hook(**{"container": "hello", "port": port, **fields}), ("127.0.0.1", port), port)

    asyncio.run(go())
    return b"".join(requests)


def test_any_response_is_a_success() -> None:
    assert requested(path="/x", headers=(("X-A", "1"),)).startswith(b"GET /x HTTP/1.1\r\n")
    assert requested(sleep=0.0) == b""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "/", "port": 22}, "listens on port"),
        ({"path": "/", "scheme": "HTTPS"}, "set scheme: HTTP"),
        ({"path": "/a b"}, "not that of a URL"),
    ],
)
def test_a_hook_reaches_its_own_pod_alone(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeFailed, match=message):
        requested(**fields)


def test_a_gateway_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    hook, address = Hook("hello", path="/", port=port), ("127.0.0.1", port)
    with pytest.raises(ProbeFailed, match=r"127\.0\.0\.1"):
        asyncio.run(run_hook(hook, address, port))
    monkeypatch.setattr(module, "_LONGEST", 0.05)

    handlers: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        await reader.read()
        writer.close()

    async def go() -> None:
        async with await asyncio.start_server(serve, *address):
            try:
                await run_hook(hook, address, port)
            finally:
                await asyncio.gather(*filter(None, handlers))

    with pytest.raises(ProbeFailed, match=r"within 0\.05 s"):
        asyncio.run(go())
