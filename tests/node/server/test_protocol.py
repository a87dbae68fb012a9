"""Bounds of the node's connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.node_api import ADMIN, HOST, NodeApi, exec_path, running_node_api
from wagi_gateway.node.server.server import HEAD_TIME

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
SOCKET = (
    b"GET /portForward/a/b HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApi]:
    """A node that takes three connections."""
    with running_node_api(tmp_path_factory.mktemp("small")) as running:
        running.server.config.max_connections = 3
        yield running


def connect(node_api: NodeApi, user: str | None = ADMIN) -> ssl.SSLSocket:
    plain = socket.create_connection((HOST, node_api.port), timeout=30)
    return node_api.context(user).wrap_socket(plain, server_hostname=HOST)


def test_connections_are_bounded(small: NodeApi) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(small)) for _ in range(3)]
        for connection in held:
            connection.sendall(b"POST /pods HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 405"
        for request in (HEALTH, SOCKET):
            with connect(small) as another:
                another.sendall(request)
                assert another.recv(12) == b"HTTP/1.1 503"
    wait_until(lambda: small.server.config.admitted == 0)
    assert small.get("/healthz", None).status_code == 200


def test_a_slow_head_is_cut_off(small: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small.server.config, "head_time", 0.3)
    with connect(small) as connection:
        connection.sendall(HEALTH[:20])
        assert connection.recv(1) == b""


def test_a_slow_handshake_is_cut_off(node_api: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    (acceptor,) = node_api.server._acceptors
    assert acceptor._options["ssl_handshake_timeout"] == HEAD_TIME
    monkeypatch.setitem(acceptor._options, "ssl_handshake_timeout", 0.3)
    with socket.create_connection((HOST, node_api.port), timeout=30) as plain:
        plain.sendall(b"\x16\x03\x01")
        assert plain.recv(1) == b""


def test_plain_http_is_refused(node_api: NodeApi) -> None:
    with socket.create_connection((HOST, node_api.port), timeout=30) as plain:
        plain.sendall(HEALTH)
        assert b"400" in plain.recv(65536)


def test_a_websocket_counts_until_it_is_closed(small: NodeApi) -> None:
    for _ in range(5):  # more than there may be at a time
        refused = small.websocket("/portForward/a/b")
        assert refused.status == 501
        wait_until(lambda: small.server.config.admitted == 0)
    assert not small.server.config.idle


def test_a_message_that_is_too_large_ends_the_connection(node_api: NodeApi, tmp_path: Path) -> None:
    node_api.pods.add("demo", "hello", tmp_path / "0.log")
    client = node_api.websocket(exec_path("demo", "hello", "GET", "/", input="1"))
    client.send(b"\x00" + b"x" * 2**20)
    assert client.channels() == {}


def test_bytes_after_the_upgrade_are_read(node_api: NodeApi) -> None:
    with connect(node_api) as connection:
        connection.sendall(SOCKET + b"\x81\x80\x00\x00\x00\x00")
        assert connection.recv(12) == b"HTTP/1.1 501"


def test_a_websocket_on_a_connection_that_takes_one_request(small: NodeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small.server.config, "keep_alive_requests", 1)
    with connect(small) as connection:
        connection.sendall(SOCKET)
        assert connection.recv(12) == b"HTTP/1.1 501"


def test_a_websocket_after_another_request(node_api: NodeApi) -> None:
    with connect(node_api) as connection:
        received = connection.makefile("rb")
        connection.sendall(HEALTH)
        assert all(iter(received.readline, b"\r\n"))
        assert received.read(2) == b"ok"
        connection.sendall(SOCKET)
        assert received.read(12) == b"HTTP/1.1 501"
