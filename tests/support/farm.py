"""HTTP servers on loopback addresses for outbound calls, which record their connections and requests."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import trustme

from tests.conftest import wait_until
from tests.support.http_server import TICK, LoopbackServer


@dataclass(frozen=True, slots=True)
class Received:
    """A request; `target` is the request target as received, and names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header; several values are joined by commas."""
        return ", ".join(value for other, value in self.headers if other == name) or None


def pattern(size: int) -> bytes:
    """Bytes that show a lost, repeated or moved part: their period, 251, is prime."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@dataclass(slots=True)
class Target:
    """An HTTP/1.1 server with persistent connections on a free port, over TLS with a context.

    | path                             | answer to any method                                                         |
    |----------------------------------|------------------------------------------------------------------------------|
    | `/hello`                         | `hello from the target`                                                      |
    | `/healthz`                       | `OK`                                                                         |
    | `/echo`                          | the request's body and content type; its method in `x-method`                |
    | `/big?size=N`                    | `pattern(N)`; in chunks, without Content-Length, with `&chunked`             |
    | `/status/CODE`                   | that status                                                                  |
    | `/redirect?to=URL&status=302`    | `location: URL`; without one to itself                                       |
    | `/headers?size=N&name=value`     | these headers, one for each pair, `x-size` with N bytes; values are Latin-1  |
    | `/slow?seconds=S`                | `slow`, after that time                                                      |
    | `/drip`                          | a byte at a time, without end                                                |
    """

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    hung_up: int = 0
    """Number of clients that have left before the end of `/slow` or `/drip`."""
    _probes: int = 0
    _server: _Server = field(init=False)

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()

    @property
    def port(self) -> int:
        """The listener's port."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Scheme, host and port: `http://127.0.0.1:40001`, which is also an entry of `allowed_hosts`."""
        return self._server.url

    def connections(self) -> int:
        """The number of connections so far, with connections in the backlog."""
        before = len(self._server.accepted)
        self._probes += 1
        with socket.create_connection((self.host, self.port), timeout=10) as probe:
            # The kernel returns connections in the order of their arrival.
            wait_until(lambda: probe.getsockname() in self._server.accepted[before:])
        return len(self._server.accepted) - self._probes


class _Server(LoopbackServer):
    def __init__(self, target: Target) -> None:
        self.target = target
        super().__init__(target.host, _Handler, target.tls)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        self.server.target.requests.append(Received(self.command, self.path, headers, body))
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        match url.path.split("/")[1:]:
            case ["hello"]:
                self._send(b"hello from the target\n")
            case ["healthz"]:
                self._send(b"OK")
            case ["echo"]:
                kind = self.headers.get("content-type", "application/octet-stream")
                self._send(body, headers=[("x-method", self.command), ("content-type", kind)])
            case ["big"]:
                self._send(pattern(int(query["size"])), chunked="chunked" in query)
            case ["status", code]:
                self._send(b"" if code in ("204", "304") else f"status {code}\n".encode(), int(code))
            case ["redirect"]:
                status = int(query.get("status", 302))
                self._send(b"elsewhere\n", status, headers=[("location", query.get("to", self.path))])
            case ["headers"]:
                pairs = parse_qsl(url.query, keep_blank_values=True, encoding="latin-1")
                self._send(
                    b"", headers=[("x-size", "x" * int(v)) if name == "size" else (name, v) for name, v in pairs]
                )
            case ["slow"]:
                if self._waits(float(query["seconds"])):
                    self._send(b"slow\n")
            case ["drip"]:
                self._drip()
            case _:
                self._send(b"no such path\n", 404)

    def _send(
        self, body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None, *, chunked: bool = False
    ) -> None:
        # Without Date and Server, so that a test can name every header.
        self.send_response_only(status)
        for name, value in headers or [("content-type", "text/plain")]:
            self.send_header(name, value)
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        elif status not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if not chunked:
            self.wfile.write(body)
            return
        for start in range(0, len(body), 10_000):
            part = body[start : start + 10_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def _drip(self) -> None:
        self.send_response_only(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        while True:
            try:
                self.wfile.write(b"1\r\n.\r\n")
                self.wfile.flush()
            except OSError:
                self.server.target.hung_up += 1
                raise
            if not self._waits(TICK):
                return

    def _waits(self, seconds: float) -> bool:
        """Whether the client stays for this time. A client that sends or closes has left: its request is complete."""
        left = seconds
        while left > 0 and not self.server.ending.is_set():
            readable, _, _ = select.select([self.connection], [], [], min(left, TICK))
            if readable:
                self.close_connection = True
                self.server.target.hung_up += 1
                return False
            left -= TICK
        self.close_connection = self.close_connection or self.server.ending.is_set()
        return not self.server.ending.is_set()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Prints nothing: the tests read `requests`."""


class Raw:
    """A server on a loopback port that calls a function for each connection, then reads until the client closes."""

    def __init__(self, answer: Callable[[socket.socket], None] | None) -> None:
        """Without `answer` the server accepts no connection."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted = 0
        """Number of accepted connections."""
        self.hung_up = 0
        """Number of connections that have ended."""
        self._answer = answer
        self._threads: list[threading.Thread] = []
        if answer:
            self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the listener and waits for the clients to close their connections."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self.listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        assert self._answer
        with connection:
            try:
                self._answer(connection)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
            self.hung_up += 1


def silent(_connection: socket.socket) -> None:
    """Sends nothing."""


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a listener with a full backlog, where further connections are neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        try:
            # The first connection that is not established at once shows that the backlog is full.
            while len(waiting) < 64:
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
                if not select.select([], [waiting[-1]], [], 0.1)[1]:
                    break
            else:
                pytest.skip("this system's backlogs are never full")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for connection in waiting:
                connection.close()


def certified(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's TLS context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
