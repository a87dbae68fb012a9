"""Idle connections, and retries where the server has closed them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients import Described, IdleWaiter
from tests.support.farm import Raw, Target
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import Call, OutboundClient
from wagi_gateway.outbound.errors import RequestFailed
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession

KEPT = 8
"""The most idle connections of a client."""
IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]


class Once:
    """A server that answers the first request of each connection and closes it at the second."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def __call__(self, connection: socket.socket) -> None:
        self._receive(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        self._receive(connection)
        connection.shutdown(socket.SHUT_RDWR)

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if data:
            self.methods.append(data.split()[0].decode())


@contextmanager
def session(*urls: str) -> Iterator[OutboundSession]:
    """An outbound session that may call these URLs."""
    client, calls = OutboundClient(Policy(urls), Limits(), 2 * KEPT), list[Call]()
    made = OutboundSession(client, calls.append)
    try:
        yield made
    finally:
        made.end()
        client.close()


def keep(session: OutboundSession, url: str, count: int = KEPT) -> None:
    """Leaves `count` idle connections: all are open at once, because each body is read after the last call."""
    handles = [session.request(Described(url), IdleWaiter())[1] for _ in range(count)]
    for handle in handles:
        while session.read(handle, 100):
            pass
        session.close(handle)


@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("count", [1, KEPT])
def test_stale_connections_are_passed_over_until_a_new_one_is_made(method: str, count: int) -> None:
    once = Once()
    with Raw(once) as server, session(server.url) as way_out:
        keep(way_out, server.url, count)
        assert (server.accepted, len(once.methods)) == (count, count)
        assert way_out.request(Described(server.url, method), IdleWaiter())[0] == 200
        assert server.accepted == count + 1
        assert once.methods[count:] == [method] * (count + 1)


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW", "get"])
@pytest.mark.parametrize("body", [b"", b"body"], ids=["empty", "body"])
def test_what_may_not_happen_twice_is_sent_once(method: str, body: bytes) -> None:
    once = Once()
    with Raw(once) as server, session(server.url) as way_out:
        keep(way_out, server.url)
        with pytest.raises(RequestFailed):
            way_out.request(Described(server.url, method, body), IdleWaiter())
        assert server.accepted == KEPT
        assert once.methods[KEPT:] == [method]


def test_a_new_connection_that_fails_is_not_made_again() -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.shutdown(socket.SHUT_RDWR)

    with Raw(hang_up) as server, session(server.url) as way_out:
        with pytest.raises(RequestFailed):
            way_out.request(Described(server.url), IdleWaiter())
        assert server.accepted == 1


def test_stale_connections_are_passed_over_behind_a_redirect_too() -> None:
    with Raw(Once()) as server, Target() as target, session(server.url, target.url) as way_out:
        keep(way_out, server.url)
        assert way_out.request(Described(f"{target.url}/redirect?to={server.url}"), IdleWaiter())[0] == 200
        assert server.accepted == KEPT + 1


class Meanwhile(IdleWaiter):
    """A guest during whose next operation something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = [happens]

    def must_stop(self) -> bool:
        while self._happens:
            self._happens.pop()()
        return super().must_stop()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""], ids=["response", "end"])
def test_data_between_the_choice_of_a_connection_and_its_use(method: str, surplus: bytes) -> None:
    """Nothing of the request was sent, so that another connection may be used for any method."""

    def answer(connection: socket.socket) -> None:
        connections.append(connection)
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def happens() -> None:
        if surplus:
            connections[0].sendall(surplus)
        connections[0].shutdown(socket.SHUT_WR)

    connections: list[socket.socket] = []
    with Raw(answer) as server, session(server.url) as way_out:
        assert way_out.request(Described(server.url), IdleWaiter())[0] == 204
        assert way_out.request(Described(server.url, method, b"body"), Meanwhile(happens))[0] == 204
        assert server.accepted == 2


@pytest.mark.parametrize(("credentials", "connections"), [("Bearer x", 1), ("NTLM x", 2), ("negotiate x", 2)])
def test_a_connection_with_credentials_of_its_own_is_not_used_again(credentials: str, connections: int) -> None:
    with Target() as target, session(target.url) as way_out:
        for header in (f"Authorization: {credentials}", ""):
            assert way_out.request(Described(f"{target.url}/hello", header=header), IdleWaiter())[0] == 200
        assert target.connections() == connections
