"""A reverse proxy that injects faults in front of a registry; without a registry, a server of given responses."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Self

from tests.support.http_server import TICK, LoopbackServer

_HOP_BY_HOP = ("connection", "transfer-encoding", "date", "server")


@dataclass(frozen=True, slots=True)
class Received:
    """A request; names of headers are in lower case."""

    method: str
    path: str
    """The path with the query."""
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        """The `Authorization` field."""
        return self.headers.get("authorization")

    @property
    def is_blob(self) -> bool:
        """Whether the request is a GET of a blob."""
        return self.method == "GET" and "/blobs/sha" in self.path

    @property
    def is_manifest(self) -> bool:
        """Whether the request names a manifest."""
        return "/manifests/" in self.path


@dataclass(slots=True)
class Answer:
    """A response; a body that is no bytes object is sent piece by piece."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    """A Content-Length that differs from the body's; -1: none, the connection's end ends the body."""


Fault = Callable[[Received, "FaultProxy"], Answer | None]
"""The response in place of the registry's, or None for the registry's own."""
Which = Callable[[Received], bool]


@dataclass(slots=True)
class FaultProxy:
    """Passes requests to the plain registry at `upstream`, except requests that a fault answers."""

    upstream: str = ""
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    received: list[Received] = field(default_factory=list)
    _faults: list[tuple[Which, Fault, list[int]]] = field(default_factory=list)
    _server: _Server = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return self._server.authority

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self._server.url

    @property
    def ending(self) -> threading.Event:
        """Set when the proxy ends."""
        return self._server.ending

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        return len(self._server.accepted)

    @property
    def downloads(self) -> list[str]:
        """The digests of the requested blobs."""
        return [request.path.rpartition("/")[2] for request in self.received if request.is_blob]

    def fault(self, which: Which, fault: Fault, times: int = sys.maxsize) -> Self:
        """Applies a fault to the next `times` requests for which `which` is true; earlier faults come first."""
        self._faults.append((which, fault, [times]))
        return self

    def answer(self, request: Received) -> Answer:
        """The response of the first fault that matches, else the registry's."""
        with self._lock:
            self.received.append(request)
            faults = []
            for which, fault, left in self._faults:
                if left[0] and which(request):
                    faults.append((fault, left))
        for fault, left in faults:
            if answer := fault(request, self):
                left[0] -= 1
                return answer
        return self.genuine(request)

    def genuine(self, request: Received) -> Answer:
        """The registry's own response."""
        assert self.upstream, f"no answer to {request.method} {request.path}"
        connection = http.client.HTTPConnection(self.upstream, timeout=10)
        with contextlib.closing(connection):
            headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
            connection.request(request.method, request.path, request.body or None, headers)
            response = connection.getresponse()
            passed = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            length = passed.pop("Content-Length", None)
            body = response.read()
            return Answer(response.status, passed, body, int(length) if length and request.method == "HEAD" else None)


class _Server(LoopbackServer):
    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(proxy.host, _Handler, proxy.tls)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        answer = self.server.proxy.answer(Received(self.command, self.path, headers, body))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        length = len(answer.body) if answer.length is None and isinstance(answer.body, bytes) else answer.length
        if length is not None and length >= 0 and "Transfer-Encoding" not in answer.headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                for piece in pieces:
                    self.wfile.write(piece)
        if not isinstance(answer.body, bytes) or (answer.length is not None and self.command != "HEAD"):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815


def refusing(status: int, body: bytes = b"", **headers: str) -> Fault:
    """A response with this status; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request, _proxy: Answer(status, named, body)


def truncated(size: int = 50, *, framing: str = "length") -> Fault:
    """The first bytes of the response; then the connection ends in order or within a chunk."""

    def fault(request: Received, proxy: FaultProxy) -> Answer:
        genuine = proxy.genuine(request)
        assert isinstance(genuine.body, bytes)
        part = genuine.body[:size]
        if framing == "chunked":
            chunk = b"%x\r\n%s\r\n" % (len(part), part)
            return Answer(200, {**genuine.headers, "Transfer-Encoding": "chunked"}, iter([chunk]))
        return Answer(200, genuine.headers, part, len(genuine.body) if framing == "length" else -1)

    return fault


def tampered(request: Received, proxy: FaultProxy) -> Answer:
    """The response with one byte changed."""
    genuine = proxy.genuine(request)
    assert isinstance(genuine.body, bytes)
    return Answer(200, genuine.headers, bytes([genuine.body[0] ^ 1]) + genuine.body[1:])


def slow(request: Received, proxy: FaultProxy) -> Answer:
    """The response byte by byte, each before a read would time out."""
    genuine = proxy.genuine(request)
    assert isinstance(genuine.body, bytes)
    return Answer(200, genuine.headers, _dripping(genuine.body, proxy), len(genuine.body))


def stalled(request: Received, proxy: FaultProxy) -> Answer:
    """Some bytes of the response, then none until the proxy ends."""
    genuine = proxy.genuine(request)
    assert isinstance(genuine.body, bytes)

    def body() -> Iterator[bytes]:
        yield bytes(genuine.body)[:10]  # type: ignore[arg-type]
        proxy.ending.wait()

    return Answer(200, genuine.headers, body(), len(genuine.body))


def endless(request: Received, proxy: FaultProxy) -> Answer:  # noqa: ARG001
    """A response without end and without a Content-Length."""

    def body() -> Iterator[bytes]:
        while not proxy.ending.is_set():
            yield bytes(65536)

    return Answer(200, {}, body())


def redirected(target: str, status: int = 307) -> Fault:
    """A redirect to the same path at another server, with a signature in the query."""
    return lambda request, _proxy: Answer(status, {"Location": f"{target}{request.path}?signature=SIGNATURE"})


def _dripping(body: bytes, proxy: FaultProxy) -> Iterator[bytes]:
    for byte in body:
        if proxy.ending.wait(TICK):
            return
        yield bytes([byte])
