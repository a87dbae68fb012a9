"""The share of `http_connect_time`: for each address of a name, for TLS, for a proxy's tunnel."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from tests.support.clients import Described, IdleWaiter
from tests.support.farm import Raw, Target, certified, full_backlog, silent
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound import network
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.deadline import CallDeadline
from wagi_gateway.outbound.destination import Address
from wagi_gateway.outbound.errors import CallTimeout, RequestFailed
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.proxy import Proxy
from wagi_gateway.outbound.session import OutboundSession

TEN = [f"127.0.0.{number}" for number in range(1, 11)]
SHORT = Limits(http_connect_time=0.3)
"""`http_time` is 30 seconds."""


class Watched(IdleWaiter):
    """A guest that records the time limits of its waits, and sets `reads` when it waits to read."""

    def __init__(self) -> None:
        super().__init__()
        self.to_read: list[float] = []
        self.to_write: list[float] = []
        self.reads = threading.Event()

    def wait(self, seconds: float, descriptor: int, events: int) -> bool:
        if events == select.POLLOUT:
            self.to_write.append(seconds)
        elif events == select.POLLIN:
            self.to_read.append(seconds)
            self.reads.set()
        return super().wait(seconds, descriptor, events)


def test_a_handshake_has_what_is_left_and_no_share_of_an_address(tmp_path: Path) -> None:
    authority, guest = trustme.CA(), Watched()
    tls = certified(authority.issue_cert("name.test"))

    def answer(connection: socket.socket) -> None:
        assert guest.reads.wait(10)
        with tls.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Raw(answer) as server:
        url = server.url.replace("http://127.0.0.1", "https://name.test")
        trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        client = OutboundClient(Policy([url]), Limits(), 1, ssl_context=trusting, lookup=lambda _: TEN)
        assert OutboundSession(client, lambda _: None).request(Described(url), guest)[0] == 204
        client.close()
    assert 9 < guest.to_read[0] <= Limits().http_connect_time


def dial_to(
    blackhole: str, target: Target, dialled: list[str]
) -> Callable[[Address, int, CallDeadline], socket.socket]:
    """A network in which only the last address of TEN accepts connections."""

    def dial(address: Address, _port: int, deadline: CallDeadline) -> socket.socket:
        dialled.append(str(address))
        port = target.port if str(address) == TEN[-1] else int(blackhole.rpartition(":")[2])
        return network.dial(ip_address("127.0.0.1"), port, deadline)

    return dial


def test_an_address_that_is_silent_leaves_time_for_the_next() -> None:
    dialled: list[str] = []
    guest = Watched()
    with full_backlog() as blackhole, Target() as target:
        dial = dial_to(blackhole, target, dialled)
        client = OutboundClient(Policy(["name.test"]), SHORT, 1, lookup=lambda _: TEN, dial=dial)
        assert OutboundSession(client, lambda _: None).request(Described("http://name.test/hello"), guest)[0] == 200
        client.close()
    assert dialled == TEN
    assert 0 < max(guest.to_write) < 1.01 * SHORT.http_connect_time / len(TEN)


@pytest.mark.parametrize("count", [1, 9])
def test_addresses_that_are_silent_end_with_http_connect_time(count: int) -> None:
    dialled: list[str] = []
    with full_backlog() as blackhole, Target() as target:
        dial = dial_to(blackhole, target, dialled)
        client = OutboundClient(Policy(["name.test"]), SHORT, 1, lookup=lambda _: TEN[:count], dial=dial)
        with pytest.raises(CallTimeout, match=r"no connection within limits\.http_connect_time \(0\.3 s\)"):
            OutboundSession(client, lambda _: None).request(Described("http://name.test/hello"), IdleWaiter())
    assert dialled == TEN[:count]


def test_a_proxy_that_never_opens_a_tunnel_ends_with_http_connect_time() -> None:
    guest = Watched()
    with Raw(silent) as proxy:
        client = OutboundClient(Policy(["https://name.test"]), SHORT, 1, proxy=Proxy.parse(proxy.url))
        with pytest.raises(CallTimeout, match=r"no connection within limits\.http_connect_time \(0\.3 s\)"):
            OutboundSession(client, lambda _: None).request(Described("https://name.test/"), guest)
        assert proxy.accepted == 1
    assert guest.to_read[0] <= SHORT.http_connect_time


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", id="response"),
        pytest.param(b"HTTP/1.1 200 Connected\r\ncontent-length: 2\r\n\r\nok", id="body"),
        pytest.param(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 Connected\r\n\r\n\x16\x03\x03", id="tls"),
    ],
)
def test_a_proxy_sends_nothing_before_the_tunnel_carries_a_request(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with Raw(serve) as proxy:
        client = OutboundClient(Policy(["https://name.test"]), Limits(), 1, proxy=Proxy.parse(proxy.url))
        with pytest.raises(RequestFailed, match="sent data before the tunnel carried a request"):
            OutboundSession(client, lambda _: None).request(Described("https://name.test/"), IdleWaiter())
        client.close()
