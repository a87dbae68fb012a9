"""The start and the end of the node's API."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from tests.conftest import wait_until
from tests.support.node_api import HOST, issue_certificates, running_node_api
from wagi_gateway.errors import StartupError
from wagi_gateway.node.server.server import NodeServer, listening_to_clients
from wagi_gateway.tls import Certificate


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_are_checked_for_life(host: str) -> None:
    with listening_to_clients(host, 0) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_an_address_that_is_taken() -> None:
    with listening_to_clients(HOST, 0) as listener:
        port = listener.getsockname()[1]
        words = rf"port: cannot serve on 127.0.0.1:{port}: Address already in use"
        with pytest.raises(StartupError, match=words), listening_to_clients(HOST, port):
            pass


def test_it_listens_on_an_address_until_it_is_cancelled(tmp_path: Path) -> None:
    issue_certificates(tmp_path)
    certificate = Certificate((tmp_path / "node.key").read_bytes() + (tmp_path / "node.crt").read_bytes())

    async def story() -> None:
        with listening_to_clients(HOST, 0) as listener:
            port = listener.getsockname()[1]
        server = NodeServer(PlainTextResponse("hello"), certificate.context)
        serving = asyncio.create_task(server.serve_on(HOST, port))
        await asyncio.to_thread(wait_until, lambda: server.started)
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:
            assert (await client.get(f"https://{HOST}:{port}/")).text == "hello"
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert server.should_exit

    asyncio.run(story())


def test_the_end_closes_the_socket(tmp_path: Path) -> None:
    with running_node_api(tmp_path) as running:
        assert running.get("/healthz", None).text == "ok"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, running.port))
