"""The start and the end of the node's API."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.node_api import HOST, running_node_api
from wagi_gateway.errors import StartupError
from wagi_gateway.node.server.server import listening_to_clients


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


def test_the_end_closes_the_socket(tmp_path: Path) -> None:
    with running_node_api(tmp_path) as running:
        assert running.get("/healthz", None).text == "ok"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, running.port))
