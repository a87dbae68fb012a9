"""The network stream: data before and during a request, the end of TLS, and reuse (RFC 9112 sections 9.2, 9.8)."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

import httpcore2
import pytest
import trustme

from tests.conftest import wait_until
from tests.support.clients import IdleWaiter
from tests.support.farm import certified
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.stream import Stream, UnsolicitedData

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Pair(NamedTuple):
    """A stream, and the server's end of the same connection."""

    stream: Stream
    server: socket.socket
    deadline: CallDeadline


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        return client, listener.accept()[0]


@contextmanager
def opened(*, tls: bool, tickets: int = 0) -> Iterator[Pair]:
    """A stream and its server, plain or over TLS 1.3 with session tickets, which arrive after the handshake."""
    client, server = connected()
    server.settimeout(10)
    stream, deadline = Stream(client), CallDeadline(IdleWaiter(), 10, 10)
    if tls:
        authority, trusting = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(trusting)
        context = certified(authority.issue_cert("name.test"))
        context.num_tickets = tickets
        with ThreadPoolExecutor() as threads:
            handshake = threads.submit(context.wrap_socket, server, server_side=True)
            stream.start_tls(trusting, "name.test", deadline)
            server = handshake.result(10)
    yield Pair(stream, server, deadline)
    stream.close()
    server.close()


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with opened(tls=request.param) as pair:
        yield pair


def exchange(pair: Pair) -> None:
    """A request and its response."""
    pair.stream.write(REQUEST, pair.deadline)
    assert pair.server.recv(1000) == REQUEST
    pair.server.sendall(b"response")
    assert pair.stream.read(1000, pair.deadline) == b"response"


def test_a_connection_with_nothing_to_read_is_reusable(pair: Pair) -> None:
    for _ in range(3):
        exchange(pair)
        assert pair.stream.get_extra_info("is_readable") is False


def test_session_tickets_are_no_data() -> None:
    with opened(tls=True, tickets=2) as pair:
        wait_until(lambda: pair.stream.get_extra_info("is_readable"))
        exchange(pair)
        assert pair.stream.get_extra_info("is_readable") is False


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_data_before_a_request_is_no_response(pair: Pair, requests: int) -> None:
    for _ in range(requests):
        exchange(pair)
    pair.server.sendall(b"data")
    wait_until(lambda: pair.stream.get_extra_info("is_readable"))
    with pytest.raises(UnsolicitedData, match="sent data before the request"):
        pair.stream.write(REQUEST, pair.deadline)
    assert pair.stream.get_extra_info("is_readable") is True
    pair.stream.close()
    with suppress(ConnectionError, ssl.SSLEOFError):
        assert pair.server.recv(1000) == b"", "nothing of the request was sent"


def test_an_end_before_a_request_is_seen(pair: Pair) -> None:
    exchange(pair)
    socket.socket.shutdown(pair.server, socket.SHUT_WR)
    wait_until(lambda: pair.stream.get_extra_info("is_readable"))
    with pytest.raises(UnsolicitedData):
        pair.stream.write(REQUEST, pair.deadline)


def test_a_reset_before_a_request_is_seen(pair: Pair) -> None:
    exchange(pair)
    pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair.server.close()
    wait_until(lambda: pair.stream.get_extra_info("is_readable"))
    with pytest.raises(UnsolicitedData):
        pair.stream.write(REQUEST, pair.deadline)


def test_a_response_before_the_end_of_a_request_is_kept_and_ends_reuse(pair: Pair) -> None:
    pair.stream.write(REQUEST, pair.deadline)
    pair.server.sendall(b"early")
    wait_until(lambda: pair.stream.get_extra_info("is_readable"))
    pair.stream.write(b"body", pair.deadline)
    assert pair.stream.read(1000, pair.deadline) == b"early"
    assert pair.stream.get_extra_info("is_readable") is True
    pair.server.sendall(b" and late")
    assert pair.stream.read(1000, pair.deadline) == b" and late"
    assert pair.stream.get_extra_info("is_readable") is True, "not even after the response"


@pytest.mark.parametrize("is_closed", [True, False], ids=["closure-alert", "cut"])
def test_the_end_of_a_connection(pair: Pair, is_closed: bool) -> None:
    exchange(pair)
    is_tls = isinstance(pair.server, ssl.SSLSocket)
    if is_closed and isinstance(pair.server, ssl.SSLSocket):
        pair.server.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            pair.server.unwrap()
    socket.socket.shutdown(pair.server, socket.SHUT_WR)
    if is_tls and not is_closed:
        with pytest.raises(httpcore2.ReadError):
            pair.stream.read(1000, pair.deadline)
    else:
        assert pair.stream.read(1000, pair.deadline) == b""


def test_the_rest_of_a_tls_record_is_readable(pair: Pair) -> None:
    """A TLS record that is read in part leaves nothing in the socket."""
    pair.stream.write(REQUEST, pair.deadline)
    pair.server.sendall(b"response and surplus")
    assert pair.stream.read(8, pair.deadline) == b"response"
    assert pair.stream.get_extra_info("is_readable") is True


def test_a_large_request_is_sent_whole(pair: Pair) -> None:
    received: list[bytes] = []

    def receive() -> None:
        while sum(map(len, received)) < len(body):
            received.append(pair.server.recv(65536))

    body = bytes(range(256)) * 40_000
    thread = threading.Thread(target=receive)
    thread.start()
    pair.stream.write(body, pair.deadline)
    thread.join()
    assert b"".join(received) == body
    assert pair.stream.get_extra_info("is_readable") is False
