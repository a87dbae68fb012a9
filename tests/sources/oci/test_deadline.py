"""The deadline of an exchange with a registry, which shuts down the exchange's sockets."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest
import urllib3

from tests.support.fault_proxy import FaultProxy, refusing
from wagi_gateway.sources.oci.deadline import RegistryDeadline, watched_pools


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; reading from one ends with an error after 10 seconds."""
    near, far = socket.socketpair()
    near.settimeout(10)
    with near, far:
        yield near, far


def test_without_an_exchange_there_is_no_deadline() -> None:
    deadline = RegistryDeadline()
    assert (deadline.seconds, deadline.left, deadline.has_passed) == (math.inf, math.inf, False)
    with deadline.within(60):
        assert deadline.seconds == 60
        assert 59 < deadline.left <= 60
    assert (deadline.seconds, deadline.left, deadline.has_passed) == (math.inf, math.inf, False)


def test_a_read_ends_at_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = RegistryDeadline()
    deadline.watch(pair[0])
    with deadline.within(0.05):
        assert pair[0].recv(1) == b""
        assert deadline.has_passed
        assert deadline.left == 0


def test_a_connection_after_the_deadline_is_shut_down_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = RegistryDeadline()
    with deadline.within(0):
        deadline.watch(pair[0])
        assert pair[0].recv(1) == b""


def test_a_connection_lives_on_after_its_exchange(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = RegistryDeadline()
    deadline.watch(pair[0])
    with deadline.within(60):
        pass
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_a_closed_connection_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = RegistryDeadline()
    pair[0].close()
    with deadline.within(0):
        deadline.watch(pair[0])


def test_new_and_idle_connections_of_a_pool_are_watched() -> None:
    watched: list[socket.socket] = []

    class Recorder(RegistryDeadline):
        def watch(self, connection: socket.socket) -> None:
            watched.append(connection)

    with FaultProxy() as server, urllib3.PoolManager() as manager:
        server.fault(lambda _: True, refusing(404))
        manager.pool_classes_by_scheme = watched_pools(Recorder())
        for _ in range(2):
            manager.request("GET", f"{server.url}/v2/", retries=False)
        assert server.connections == 1
    assert len(watched) >= 2
    assert len(set(watched)) == 1
