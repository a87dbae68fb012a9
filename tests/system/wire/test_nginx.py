"""The same requests through a real nginx, which may refuse or change them: no 5xx, and no forged variable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Server
from tests.support import guests

from ...support.env_guest import CT
from ...support.http_client import Answer, connected, message
from ...support.nginx import Nginx, nginx_before
from . import bodies, requests
from .conftest import Route

ACCEL = CT + b"X-Accel-Redirect: /internal/secret\n\nthe guest's own"
ROUTES = (
    *requests.ROUTES,
    Route("/nginx/accel", guests.says(ACCEL)),
    Route("/nginx/accel-allowed", guests.says(ACCEL), "front_end_headers = true"),
    Route("/nginx/cookies", guests.says(CT + b"Set-Cookie: a=1\nSet-Cookie: b=2\n\nhi")),
    Route("/nginx/bad", guests.says(b"no header\n\n")),
    Route("/nginx/204", guests.says(b"Status: 204\n\n")),
    Route("/nginx/large", guests.says(CT + b"\n" + b"x" * 300_000)),
    Route("/nginx/cut", guests.says(CT + b"\n" + b"x" * 300_000, then="unreachable")),
)

CLIENT = "127.0.0.9"
"""The client's address; the gateway's peer is nginx at 127.0.0.1."""


@pytest.fixture(scope="session")
def nginx(site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx in front of a gateway without trusted proxies."""
    with nginx_before(site.address, tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture(scope="session")
def trusted_nginx(trusting: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx as a trusted proxy in front of a gateway."""
    with nginx_before(trusting.address, tmp_path_factory.mktemp("nginx")) as running:
        yield running


def ask(address: tuple[str, int], request: bytes) -> Answer:
    with connected(address, CLIENT) as connection:
        return connection.ask(request)


ROWS = [
    *((name, request) for name, request, _ in requests.VARIABLES),
    *((name, requests.get("/x", field)) for name, field in requests.ODD_NAMES),
    *((name, request) for name, request, _ in requests.REFUSALS),
    *((name, request) for name, request, _ in requests.PROXIED),
    ("M32-options", message("OPTIONS * HTTP/1.1", "Host: h")),
    ("M37-folded", requests.get("/x", "X-A: one\r\n two")),
    ("M39-get", message("get /x HTTP/1.1", "Host: h")),
    ("M39-brew", message("BREW /x HTTP/1.1", "Host: h")),
    *((name, message(*head, body=body)) for name, head, body in bodies.AMBIGUOUS),
    *((name, request) for name, request, _ in bodies.BODIES),
]
EVIL = (b"evil", b"6.6.6.6", b"dTpw")


def assert_harmless(answer: Answer, address: bytes) -> None:
    """Fails for a 5xx other than nginx's own 501 and 505, and for a variable that the client has forged."""
    assert answer.status < 500 or answer.status in (501, 505)
    if answer.status != 200 or not answer.body[:4] or b"GATEWAY_INTERFACE=" not in answer.body:
        return
    seen = answer.seen
    assert (seen["REMOTE_ADDR"], seen["REMOTE_HOST"]) == (address, address)
    for name in ("HTTPS", "HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        assert seen[name] is None
    assert seen["HTTP_X_FORWARDED_FOR"] == CLIENT.encode()
    allowed = {b"HTTP_AUTHORIZATION"} if seen["SCRIPT_NAME"] == b"/authorized" else set()
    spoofed = {name for name, value in seen.environ.items() if any(word in value for word in EVIL)}
    assert not spoofed - allowed
    assert not [name for name, value in seen.environ.items() if any(octet < 32 and octet != 9 for octet in value)]


@pytest.mark.parametrize("request_", [pytest.param(request, id=name) for name, request in ROWS])
def test_no_client_makes_a_5xx_or_a_lie(nginx: Nginx, request_: bytes) -> None:
    for address in (nginx.plain, nginx.old):
        assert_harmless(ask(address, request_), b"127.0.0.1")


@pytest.mark.parametrize("request_", [pytest.param(request, id=name) for name, request in ROWS])
def test_no_client_deceives_a_trusted_nginx(trusted_nginx: Nginx, request_: bytes) -> None:
    assert_harmless(ask(trusted_nginx.plain, request_), CLIENT.encode())


SPOOFED = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 1", "X_Forwarded_For: 6.6.6.6")


def test_the_fields_of_a_trusted_nginx_describe_the_client(trusted_nginx: Nginx) -> None:
    port = trusted_nginx.plain[1]
    seen = ask(trusted_nginx.plain, message("GET /a%20b?c HTTP/1.1", f"Host: a.example:{port}", *SPOOFED)).seen
    expected = {
        "REMOTE_ADDR": CLIENT.encode(),
        "REMOTE_HOST": CLIENT.encode(),
        "REMOTE_PORT": None,
        "HTTPS": None,
        "REQUEST_SCHEME": b"http",
        "SERVER_NAME": b"a.example",
        "SERVER_PORT": b"%d" % port,
        "HTTP_HOST": b"a.example:%d" % port,
        "X_FULL_URL": b"http://a.example:%d/a%%20b?c" % port,
        "REQUEST_URI": b"/a%20b?c",
        "SERVER_PROTOCOL": b"HTTP/1.1",
    }
    assert {name: seen[name] for name in expected} == expected


def test_the_fields_of_a_trusted_nginx_with_tls_describe_the_client(trusted_nginx: Nginx) -> None:
    seen = ask(trusted_nginx.secure, message("GET /x HTTP/1.1", "Host: a.example:8443", *SPOOFED)).seen
    expected = {
        "REMOTE_ADDR": CLIENT.encode(),
        "HTTPS": b"on",
        "REQUEST_SCHEME": b"https",
        "SERVER_NAME": b"a.example",
        "SERVER_PORT": b"8443",
        "X_FULL_URL": b"https://a.example:8443/x",
    }
    assert {name: seen[name] for name in expected} == expected


def test_an_nginx_that_is_not_trusted_is_the_client(nginx: Nginx) -> None:
    seen = ask(nginx.secure, message("GET /x HTTP/1.1", "Host: a.example")).seen
    assert (seen["REMOTE_ADDR"], seen["HTTPS"], seen["SERVER_PORT"]) == (b"127.0.0.1", None, b"80")
    assert seen["HTTP_X_FORWARDED_FOR"] == CLIENT.encode()


def test_http_1_0_between_nginx_and_the_gateway(trusted_nginx: Nginx) -> None:
    seen = ask(trusted_nginx.old, message("GET /x HTTP/1.1", "Host: h")).seen
    assert (seen["SERVER_PROTOCOL"], seen["SERVER_NAME"]) == (b"HTTP/1.0", b"h")


def test_r36_internal_locations_stay_internal(nginx: Nginx) -> None:
    assert ask(nginx.plain, message("GET /nginx/accel HTTP/1.1", "Host: h")).body == b"the guest's own"
    assert ask(nginx.plain, message("GET /internal/secret HTTP/1.1", "Host: h")).status == 404


def test_r36_a_route_may_command_nginx(nginx: Nginx) -> None:
    answer = ask(nginx.plain, message("GET /nginx/accel-allowed HTTP/1.1", "Host: h"))
    assert answer.body == b"only nginx may say so\n"


# The part of a guest's response that nginx forwards: the path, the status, the body, the number of cookies.
RESPONSES = [
    ("/nginx/cookies", 200, b"hi", 2),
    ("/nginx/204", 204, b"", 0),
    ("/nginx/large", 200, b"x" * 300_000, 0),
    ("/nginx/bad", 502, None, 0),
]


@pytest.mark.parametrize(("path", "status", "body", "cookies"), RESPONSES)
def test_responses(nginx: Nginx, path: str, status: int, body: bytes | None, cookies: int) -> None:
    for address in (nginx.plain, nginx.old):
        answer = ask(address, message(f"GET {path} HTTP/1.1", "Host: h"))
        assert (answer.status, answer.is_complete) == (status, True)
        assert body in (None, answer.body)
        assert len(answer.values("set-cookie")) == cookies


def test_t08_a_response_that_was_cut_off_does_not_look_complete(nginx: Nginx) -> None:
    answer = ask(nginx.plain, message("GET /nginx/cut HTTP/1.1", "Host: h"))
    assert (answer.status, answer.is_complete) == (200, False)


@pytest.mark.parametrize("size", [0, 1, 100_000, 4 * 2**20])
def test_request_bodies(nginx: Nginx, size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    fields = ("Host: h", f"Content-Length: {size}", "Content-Type: a/b")
    assert ask(nginx.plain, message("POST /x HTTP/1.1", *fields, body=body)).seen.stdin == body
