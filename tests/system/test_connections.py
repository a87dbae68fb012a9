"""The bounds of a connection over TCP, a UNIX socket and TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.conftest import Server, running, wait_until
from tests.support import guests
from tests.support.clock import assert_within
from tests.support.config import config, guest
from tests.support.http_client import is_whole_hello

MODULES = guest("/hello", "hello"), guest("/pour", "pour", time="2s", concurrency=1, queue=0)
GET = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
UNFINISHED = b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
KINDS = ["tcp", "unix", "tls"]


@dataclass
class Site:
    """A server and its kind of socket."""

    server: Server
    path: Path | None
    tls: ssl.SSLContext | None

    @contextmanager
    def connected(self, *, small: bool = False) -> Iterator[socket.socket]:
        """A connection; a `small` one has a small receive buffer."""
        with socket.socket(socket.AF_UNIX if self.path else socket.AF_INET) as plain:
            plain.settimeout(20)
            if small:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect(str(self.path) if self.path else self.server.address)
            if self.tls is None:
                yield plain
                return
            with self.tls.wrap_socket(plain, server_hostname="localhost") as secure:
                yield secure


@contextmanager
def serving(kind: str, directory: Path, cache: Path, **settings: object) -> Iterator[Site]:
    for name, wat in {"hello": guests.HELLO, "pour": guests.ENDLESS_STDOUT}.items():
        (directory / f"{name}.wat").write_text(wat)
    (directory / "files").mkdir()
    with (directory / "files" / "large").open("wb") as file:
        file.truncate(2**26)
    path = directory / "s" if kind == "unix" else None
    context, options = None, []
    if kind == "tls":
        authority = trustme.CA()
        certificate = directory / "certificate.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options = ["--tls-cert", str(certificate)]
    static = [{"route": "/files/...", "directory": "files"}]
    text = config(*MODULES, server=settings, log={"level": "debug"}, static=static)
    listen = f"unix:{path}" if path else "127.0.0.1:0"
    with running(directory, text, *options, cache=cache, listen=listen) as server:
        yield Site(server, path, context)


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """A server of each kind, with bounds that the tests reach soon."""
    bounds = {"head_time": "500ms", "keep_alive": 1, "keep_alive_requests": 3, "send_timeout": 1}
    with serving(request.param, tmp_path_factory.mktemp(request.param), cache, **bounds) as site:
        yield site
        assert "Traceback" not in site.server.log


def ended(connection: socket.socket) -> bytes:
    """All bytes until the end of the connection, also a reset."""
    got = b""
    try:
        while data := connection.recv(65536):
            got += data
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return got


def answer_on(connection: socket.socket) -> bytes:
    """The answer of the hello guest on a connection that stays open."""
    got = b""
    while not is_whole_hello(got):
        data = connection.recv(65536)
        assert data, got
        got += data
    return got


def test_a_slow_head(site: Site) -> None:
    for sent in (b"", b"GET /hello HTTP/1.1\r\nHo"):
        with site.connected() as connection:
            begin = time.monotonic()
            connection.sendall(sent)
            assert ended(connection) == b""
            took = time.monotonic() - begin
            assert took > 0.3
            assert_within(took, 5)


@pytest.mark.parametrize("site", ["tls"], indirect=True)
def test_a_slow_handshake(site: Site) -> None:
    for sent in (b"", b"\x16\x03\x01\x02\x00", GET):
        with site.server.connect() as connection:
            begin = time.monotonic()
            connection.sendall(sent)
            assert GET[:4] not in ended(connection)
            assert_within(time.monotonic() - begin, 5)
    with site.connected() as connection:
        connection.sendall(GET)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_an_idle_connection(site: Site) -> None:
    with site.connected() as connection:
        connection.sendall(GET)
        begin = time.monotonic()
        assert is_whole_hello(ended(connection))
        took = time.monotonic() - begin
        assert took > 0.5
        assert_within(took, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_connections_beyond_the_bound(tmp_path: Path, cache: Path, kind: str) -> None:
    """Connections over the bound are refused while no other one is idle, and existing ones stay open."""

    def is_answered() -> bool:
        with bounded.connected() as another:
            another.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            return is_whole_hello(ended(another))

    with serving(kind, tmp_path, cache, max_connections=2) as bounded, ExitStack() as stack:
        kept = [stack.enter_context(bounded.connected()) for _ in range(2)]
        for _ in range(2):
            for connection in kept:
                connection.sendall(UNFINISHED)
                assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
            assert not is_answered()
            for connection in kept:
                connection.sendall(b"x")
                assert answer_on(connection).startswith(b"HTTP/1.1 200 ")
        for _ in range(3):  # connections without a request do not count against the bound
            stack.enter_context(bounded.connected())
        assert is_answered()
        assert ended(kept[0]) == b""
        kept[1].sendall(GET)
        assert answer_on(kept[1]).startswith(b"HTTP/1.1 200 ")
    assert bounded.server.log.count("WARNING server.max_connections = 2: new connections get 503") == 1


def test_the_requests_of_a_connection(site: Site) -> None:
    with site.connected() as connection:
        answers = []
        for _ in range(2):
            connection.sendall(GET)
            answers.append(answer_on(connection))
        connection.sendall(GET)
        answers.append(ended(connection))
    assert [b"connection: close" in answer.lower() for answer in answers] == [False, False, True]
    assert is_whole_hello(answers[-1])


def test_a_large_head(site: Site) -> None:
    for head in (
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /" + b"x" * 90000,
    ):
        with site.connected() as connection:
            connection.sendall(head)
            assert ended(connection).startswith((b"HTTP/1.1 414 ", b"HTTP/1.1 431 "))


def test_a_client_that_reads_nothing_holds_no_sandbox_for_ever(site: Site) -> None:
    with site.connected(small=True) as connection:
        connection.sendall(b"GET /pour HTTP/1.1\r\nHost: h\r\n\r\n")
        site.server.wait_for_log("GET /pour status=200 .*cut off|cut off(.|\n)*GET /pour status=200", timeout=15)


def test_a_client_that_reads_nothing_holds_no_file_for_ever(site: Site) -> None:
    with site.connected() as connection:  # libuv opens a permanent descriptor for the first connection
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        ended(connection)
    before = site.server.descriptors()
    with site.connected(small=True) as connection:
        connection.sendall(b"GET /files/large HTTP/1.1\r\nHost: h\r\n\r\n")
        site.server.wait_for_log("GET /files/large status=200 .*the client went away", timeout=20)
        wait_until(lambda: site.server.descriptors() <= before)


def test_a_client_that_reads_slowly_gets_everything(site: Site) -> None:
    with site.connected(small=True) as connection:
        connection.sendall(
            b"GET /files/large HTTP/1.1\r\nHost: h\r\nRange: bytes=0-999999\r\nConnection: close\r\n\r\n"
        )
        got = 0
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:  # slowly, for longer than the timeout
            got += len(connection.recv(20_000))
            time.sleep(0.1)
        got += len(ended(connection))
    assert got > 1_000_000
