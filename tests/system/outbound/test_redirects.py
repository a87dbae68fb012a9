"""References of redirects as servers send them: octets outside of ASCII, relative forms, several fields (RFC 9110
section 10.2.2, RFC 3986)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients import Described, IdleWaiter
from tests.support.farm import Raw
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.errors import OutboundError
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import OutboundSession


class Redirecting:
    """A server that answers `/from/here?q` with these header lines and any other target with 204."""

    def __init__(self, *lines: bytes, status: bytes = b"302") -> None:
        self._head = b"HTTP/1.1 %b Found\r\n%b\r\ncontent-length: 0\r\n\r\n" % (status, b"\r\n".join(lines))
        self.targets: list[bytes] = []
        self.hosts: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        while head := connection.recv(65536):
            lines = head.split(b"\r\n")
            self.targets.append(lines[0].split(b" ")[1])
            self.hosts.append(next(line[6:] for line in lines if line.lower().startswith(b"host: ")))
            is_first = self.targets[-1] == b"/from/here?q"
            connection.sendall(self._head if is_first else b"HTTP/1.1 204 No Content\r\n\r\n")


@contextmanager
def followed(server: Redirecting) -> Iterator[tuple[int, str]]:
    """Status or error of the call, and the port."""
    with Raw(server) as raw:
        port = raw.url.rpartition(":")[2]
        entries = [raw.url, f"http://*.test:{port}"]
        client = OutboundClient(
            Policy(entries, allow_private_networks=True), Limits(), 2, lookup=lambda _name: ["127.0.0.1"]
        )
        session = OutboundSession(client, lambda _: None)
        try:
            yield session.request(Described(f"{raw.url}/from/here?q#fragment"), IdleWaiter())[0], port
        except OutboundError as error:
            yield error.code, port
        finally:
            session.end()
            client.close()


TARGETS = [
    pytest.param(b"/caf\xe9", b"/caf%E9", id="latin-1"),
    pytest.param(b"/caf\xc3\xa9", b"/caf%C3%A9", id="utf-8"),
    pytest.param(b"/\xff\xfe\x80", b"/%FF%FE%80", id="neither"),
    pytest.param(b"/a?b=\xe9\xc3\xa9", b"/a?b=%E9%C3%A9", id="query"),
    pytest.param(b"/caf%E9/%c3%A9", b"/caf%E9/%c3%A9", id="encoded-already"),
    pytest.param(b"/100%", b"/100%", id="bare-percent"),
    pytest.param(b"/a b\tc", b"/a%20bc", id="blanks"),
    pytest.param(b'/"<>`{}', b"/%22%3C%3E%60%7B%7D", id="not-in-urls"),
    pytest.param(b"/a#\xe9", b"/a", id="fragment"),
    pytest.param(b"there", b"/from/there", id="relative"),
    pytest.param(b"./there", b"/from/there", id="dot"),
    pytest.param(b"../there/./x/..", b"/there/", id="dots"),
    pytest.param(b"../../../there", b"/there", id="above-the-root"),
    pytest.param(b"%2e%2e/there", b"/there", id="encoded-dots"),
    pytest.param(b"?r", b"/from/here?r", id="query-alone"),
    pytest.param(b"//127.0.0.1:{port}/x", b"/x", id="without-scheme"),
    pytest.param(b"HTTP://127.0.0.1:{port}", b"/", id="no-path"),
    pytest.param(b"http:/x", b"/x", id="scheme-and-path"),
    pytest.param(b"http://b\xc3\xbccher.test:{port}/x", b"/x", id="host-in-utf-8"),
    pytest.param(b"http://B%C3%BCcher.TEST:{port}/x", b"/x", id="host-encoded"),
]


class Formatted(Redirecting):
    """A server whose Location names its own port."""

    def __init__(self, location: bytes) -> None:
        super().__init__(b"location: " + location)

    def __call__(self, connection: socket.socket) -> None:
        self._head = self._head.replace(b"{port}", b"%d" % connection.getsockname()[1])
        super().__call__(connection)


@pytest.mark.parametrize(("location", "target"), TARGETS)
def test_u7_a_reference_is_percent_encoded_and_followed(location: bytes, target: bytes) -> None:
    server = Formatted(location)
    with followed(server) as (status, port):
        assert status == 204
        assert server.targets == [b"/from/here?q", target]
        host = b"xn--bcher-kva.test" if b"cher" in location else b"127.0.0.1"
        assert server.hosts[1] == host + b":" + port.encode()


@pytest.mark.parametrize(
    ("lines", "status", "targets"),
    [
        pytest.param([b"location: /a", b"Location: /a"], 204, 2, id="twice-the-same"),
        pytest.param([b"location: /a", b"location: /b"], 11, 1, id="two"),
        pytest.param([b"location: /a", b"location:"], 11, 1, id="one-and-empty"),
        pytest.param([b"x: y"], 302, 1, id="none"),
        pytest.param([b"location:"], 11, 11, id="empty-is-a-loop"),
        pytest.param([b"location: \t "], 11, 11, id="blank-is-a-loop"),
        pytest.param([b"content-location: /a"], 302, 1, id="content-location"),
        pytest.param([b"refresh: 0;url=/a"], 302, 1, id="refresh"),
        pytest.param([b"location: #f"], 11, 11, id="fragment-alone-is-a-loop"),
        pytest.param([b"location: http://b\xfccher.test/"], 11, 1, id="host-in-latin-1"),
        pytest.param([b"location: http://[::1"], 11, 1, id="no-url"),
        pytest.param([b"location: //denied.example/"], 7, 1, id="denied"),
        pytest.param([b"location: //127.0.0.1:0/"], 7, 1, id="port-0"),
        pytest.param([b"location: //a\x01b.test/"], 11, 1, id="control-character-in-the-host"),
        pytest.param([b"location: /a\x00b"], 11, 1, id="nul"),
        pytest.param([b"location: /a\rhost: evil.test"], 11, 1, id="bare-cr"),
    ],
)
def test_fields_that_are_no_single_reference(lines: list[bytes], status: int, targets: int) -> None:
    server = Redirecting(*lines)
    with followed(server) as (found, _port):
        assert (found, len(server.targets)) == (status, targets)


@pytest.mark.parametrize("status", [b"300", b"304", b"305", b"306", b"399", b"201"])
def test_other_statuses_are_answers(status: bytes) -> None:
    server = Redirecting(b"location: /a\xe9", status=status)
    with followed(server) as (found, _port):
        assert (found, len(server.targets)) == (int(status), 1)
