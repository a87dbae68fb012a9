"""Targets: a client's bytes as requests, and the environment and arguments of each."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from tests.fuzz.wire import CONFIG, SILENT, STATE, Clock, Transport, answers, in_pieces
from wagi_gateway.cgi.environ import MAX_ENVIRON, META_VARIABLES, build_argv, build_environ, is_usual
from wagi_gateway.cgi.forwarded import apply_forwarded
from wagi_gateway.cgi.request import MAX_TARGET, Authority, RequestHead, check_target, find_authority
from wagi_gateway.cgi.trace import find_trace
from wagi_gateway.errors import BadRequest, RequestError
from wagi_gateway.gateway.gateway import _request_head
from wagi_gateway.http.request import check_framing
from wagi_gateway.router import RouteMatch, RoutePattern, Router
from wagi_gateway.server.protocol import BoundedProtocol

ROUTES = ("/...", "/a/...", "/a/b", "/a/b/c d/...", "/é/...", "/%2F/...")
ROUTER = Router([(RoutePattern(route), route) for route in ROUTES])
_SCRIPT_NAMES = {route: RoutePattern(route).script_name for route in ROUTES}
_NAMES = re.compile(rb"(?: ?(?:HTTP_[A-Z0-9_]+|OPERATOR))*")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NEVER = {
    b"HTTP_" + name
    for name in b"PROXY AUTHORIZATION PROXY_AUTHORIZATION CONNECTION CONTENT_LENGTH TRANSFER_ENCODING TE UPGRADE"
    b" TRAILER KEEP_ALIVE PROXY_CONNECTION".split()
}
_UPGRADE = re.compile(rb"upgrade", re.IGNORECASE)
_TRACE = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KNOWN = {name.encode() for name in META_VARIABLES}
_TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))

SEEDS = tuple(
    b"\x00" + request.replace(b"\n", b"\r\n")
    for request in (
        b"GET /a/b?x=1&y HTTP/1.1\nHost: h:80\nX-A: 1\nx-a: 2\nCookie: a\nCookie: b\n\n",
        b"POST /a/x%20y/../z%2Fq HTTP/1.1\nHost: [::1]:8080\nContent-Length: 3\nContent-Type: a/b\n\nabc",
        b"POST /a HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nTrailer: x-t\n\n3;e=v\nabc\n0\nx-t: 1\n\n",
        b"GET http://a.example:80/a/%2e%2e/%C3%A9 HTTP/1.1\nHost: b\nConnection: close\nProxy: p\nX_Y: 1\n\n",
        b"GET / HTTP/1.0\n\nGET / HTTP/1.0\n\n",
        b"OPTIONS * HTTP/1.1\nHost: h\nExpect: 100-continue\n\n",
        b"GET /a?+-s HTTP/1.1\nHost: h\nUpgrade: h2c\nConnection: Upgrade\n\nGET /b HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\nHost: h\nX-Forwarded-For: 6.6.6.6, 10.0.0.1\nX-Forwarded-Proto: https\n"
        b"X-Forwarded-Port: 8443\nX-Forwarded-Host: evil\n\n",
        b"PRI * HTTP/2.0\n\nSM\n\n",
    )
)
# Once, the body or the next request was lost.
FOUND = (b"\0POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nContent-Length: 3\r\nConnection: Upgrade\r\n\r\nabc",)
FIELD_SEEDS = (
    b"aaa\nGET\na/b\nx=1&y\n1.1\nhost:h:80\nx-a:1\nx-a:2\ncookie:a\ncookie:b",
    b"aab\nPOST\na/x%20y/../z%2Fq\n\n1.1\nhost:[::1]:1\nx-forwarded-for:6.6.6.6, 10.0.0.1\ncontent-length:3",
    b"baa\nGET\n%C3%A9/e\na+b+%2Ds\n1.0\nproxy:p\nauthorization:b\nx_y:1\nx-b:\xe9\nx-b:\xc3\xa9",
    b"aaa\nGET\na/x%2F..%2Fy\n\n1.1\nhost:h",
    b"aaa\nGET\na\n\n1.1\nhost:h\ntraceparent:00-12345678901234567890123456789012-1234567890123456-01\ntracestate:a=1,b@c=2",
    b"aba\nHEAD\n\n\n1.1\na.example:8080\nhost:b\ncontent-type:a/b\ncontent-type:c\ntransfer-encoding:chunked",
)


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the application receives it."""

    head: RequestHead
    body: bytes
    is_complete: bool


class _Recorder(BoundedProtocol):
    """The server's protocol, with an application that answers each request as soon as the request is complete."""

    def __init__(self) -> None:
        super().__init__(CONFIG, STATE, {}, cast(asyncio.AbstractEventLoop, Clock()))
        self.logger = SILENT
        self.requests: list[tuple[Any, Any, bytearray]] = []

    def _start_asgi_task(self, cycle: Any, _app: Any) -> None:
        self.requests.append((self.scope, cycle, cycle.body))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            return
        self.cycle.response_started = self.cycle.response_complete = True
        if not self.cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


def received(pieces: list[bytes]) -> tuple[list[Received], Transport]:
    """The requests and responses of a connection whose bytes arrive in these pieces."""
    transport = Transport()
    protocol = _Recorder()
    protocol.connection_made(transport)
    for piece in pieces:
        protocol.data_received(piece)
        if transport.is_closing():
            break
    requests = [
        Received(_request_head(scope, "1"), bytes(body), not cycle.more_body)
        for scope, cycle, body in protocol.requests
    ]
    protocol.connection_lost(None)
    return requests, transport


def check_fields(data: bytes) -> None:
    """Lines: flags, method, path, query, version, then fields, none of them checked by a parser."""
    flags, method, path, query, version, *fields = [*data.split(b"\n"), b"", b"", b"", b"", b""]
    if not re.fullmatch(rb"[A-Za-z-]+", method):  # every parser guarantees this
        return
    pairs = (field.partition(b":") for field in fields if field)
    head = RequestHead(
        method.decode("latin-1"),
        b"/" + path,
        query,
        version.decode("latin-1"),
        "https" if flags[:1] > b"a" else "http",
        tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs),
        ("127.0.0.1", 5),
        ("127.0.0.1", 80),
        "id",
        fields[0] if flags[1:2] > b"a" else None,
    )
    check_request(Received(head, b"", is_complete=False), is_trusted=flags[2:3] > b"a")


def check(data: bytes) -> None:
    """The first byte sets the size of the pieces, and whether the client is a trusted proxy."""
    how, data = data[0] if data else 0, data[1:]
    whole, transport = received(in_pieces(data, 0))
    refusals = answers(transport.written)
    assert [answer.status for answer in refusals] in ([], [400], [431])
    assert not refusals or transport.is_closing()
    # The server offers no upgrade, so a field that requests one has no effect.
    if (renamed := _UPGRADE.sub(b"Xpgrade", data)) != data:
        without, _ = received(in_pieces(renamed, 0))
        # Counted by length, because a body may contain the word.
        assert [(len(one.body), one.is_complete) for one in whole] == [
            (len(one.body), one.is_complete) for one in without
        ]
    if step := how & 15:
        pieces, _ = received(in_pieces(data, step))
        # A pipelined request is answered only if it arrives late enough, but its response is always the same.
        for one, other in zip(whole, pieces, strict=False):
            assert one.head == other.head
            assert one.is_complete == other.is_complete
            assert not one.is_complete or one.body == other.body
        assert len(pieces) >= len(whole)
        whole = pieces
    for request in whole:
        check_request(request, is_trusted=bool(how & 16))


def check_request(received: Received, *, is_trusted: bool) -> None:
    """The gateway's steps for a request until its guest starts."""
    try:
        request, match, environ, body = prepare(received, is_trusted=is_trusted)
    except RequestError as error:
        assert 400 <= error.status < 500, error
        assert not _CONTROL.search(error.public.encode())
        return
    check_environ(request, match, environ)
    check_arguments(request, match)
    declared = request.values(b"content-length")
    if declared and received.is_complete:
        assert len(body) == int(declared[0])
    if received.is_complete and not declared and not request.values(b"transfer-encoding"):
        assert not body


def prepare(received: Received, *, is_trusted: bool) -> tuple[RequestHead, RouteMatch[str], dict[bytes, bytes], bytes]:
    """The steps of `exchange`. Raises RequestError."""
    request = apply_forwarded(received.head, _TRUSTED if is_trusted else ())
    check_framing(request)
    authority = find_authority(request, Authority(b"default", b""))
    if request.method in ("TRACE", "CONNECT"):
        raise BadRequest(request.method)
    check_target(request)
    match = ROUTER.match(request.raw_path)
    assert match, "a route for everything"
    operator, trace = {b"OPERATOR": b"1", b"HTTP_X_OPERATOR": b"1"}, find_trace(request)
    is_certain = is_usual(request, match, operator)
    try:
        environ = build_environ(
            request, match, authority=authority, operator=operator, trace=trace.environ if trace else {}
        )
    except RequestError as error:
        assert not is_certain, error
        raise
    return request, match, environ, received.body


def check_environ(request: RequestHead, match: RouteMatch[str], environ: dict[bytes, bytes]) -> None:
    """No client sets a variable that belongs to the gateway."""
    assert sum(map(len, environ)) + sum(map(len, environ.values())) <= MAX_ENVIRON
    assert _NAMES.fullmatch(b" ".join(environ.keys() - _KNOWN))
    together = b"\t".join(environ.values())
    assert not _CONTROL.search(together)
    together.decode("utf-8")
    assert not _NEVER & environ.keys()
    assert (environ[b"OPERATOR"], environ[b"HTTP_X_OPERATOR"]) == (b"1", b"1")
    assert environ[b"GATEWAY_INTERFACE"] == b"CGI/1.1"
    if environ[b"REMOTE_ADDR"] != b"127.0.0.1":
        assert str(ip_address(environ[b"REMOTE_ADDR"].decode())) == environ[b"REMOTE_ADDR"].decode()
    assert 0 < int(environ[b"SERVER_PORT"]) < 65536
    assert not re.search(rb"[\s/?#@\\]", environ[b"SERVER_NAME"])
    assert environ[b"SERVER_PROTOCOL"] in (b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/3.0")
    assert environ[b"REQUEST_SCHEME"] in (b"http", b"https")
    assert (b"HTTPS" in environ) == (environ[b"REQUEST_SCHEME"] == b"https")
    assert len(environ[b"REQUEST_URI"]) <= MAX_TARGET + 1
    assert not re.search(rb"[\x00-\x20\x7f#]", environ[b"REQUEST_URI"] + environ[b"X_FULL_URL"])
    path_info = environ[b"PATH_INFO"]
    assert path_info == unquote_to_bytes(environ[b"X_RAW_PATH_INFO"]) == environ[b"PATH_TRANSLATED"]
    assert not path_info or path_info.startswith(b"/")
    assert not {b".", b".."} & set(path_info.split(b"/"))
    assert environ[b"SCRIPT_NAME"] == _SCRIPT_NAMES[match.pattern]
    assert environ[b"SCRIPT_NAME"] + path_info == unquote_to_bytes(match.path)
    # Outbound calls carry the same field.
    parent, state = environ.get(b"HTTP_TRACEPARENT"), environ.get(b"HTTP_TRACESTATE")
    assert parent is None or _TRACE.fullmatch(parent)
    assert state is None or (parent and re.fullmatch(rb"[\x20-\x7e]{3,512}", state))
    # An ordinary field reaches the guest unchanged.
    for name in (b"x-a", b"x-b"):
        if values := request.values(name):
            joined = environ[b"HTTP_" + name.upper().replace(b"-", b"_")]
            assert joined.isascii() is False or joined == b", ".join(values)


def check_arguments(request: RequestHead, match: RouteMatch[str]) -> None:
    """The arguments follow from the query alone."""
    wagi = build_argv(None, "wagi", request, match.path)
    assert wagi == [match.path, *filter(None, request.query.split(b"&"))]
    assert build_argv(None, "none", request, match.path) == [match.path]
    indexed = build_argv(None, "rfc3875", request, match.path)
    if b"=" in request.query or request.method not in ("GET", "HEAD"):
        assert indexed == [match.path]
    template = build_argv("php ${SCRIPT_NAME} -- x", "wagi", request, match.path)
    assert template == [b"php", match.path, b"--", b"x"]
    for argument in (*wagi, *indexed):
        assert b"\0" not in argument
        argument.decode("utf-8")
