"""Published vulnerabilities of CGI servers, each tested over the wire."""

from __future__ import annotations

import pytest

from tests.conftest import Server
from tests.support import guests

from ...support.env_guest import CT, ECHO_PATH_INFO
from ...support.http_client import Answer, assert_logged, assert_no_guest, connected, exchange, message
from .conftest import Route

ROUTES = (
    Route("/php", options='argv = "php main.php"'),
    Route("/php/script/...", options='argv = "php ${SCRIPT_NAME}"'),
    Route("/php/none", options='argv_mode = "none"'),
    Route("/split/echo/...", ECHO_PATH_INFO),
    Route("/split/cr", guests.says(CT + b"X-A: a\rSet-Cookie: e=1\n\nhi")),
    Route("/split/crcr", guests.says(CT + b"X-A: a\r\r\nSet-Cookie: e=1\n\nhi")),
    Route("/split/nul", guests.says(CT + b"X-A: a\0\nSet-Cookie: e=1\n\nhi")),
    Route("/split/status", guests.says(b"Status: 200 OK\rSet-Cookie: e=1\n" + CT + b"\nhi")),
    Route("/split/location", guests.says(b"Location: http://a.example/\rSet-Cookie: e=1\n\n")),
    Route("/split/name", guests.says(CT + b"X\rSet-Cookie: e=1\n\nhi")),
    Route("/split/framing", guests.says(CT + b"Content-Length: 2\nTransfer-Encoding: chunked\n\nhi")),
)
PROXIES = ["Proxy: http://evil", "proxy: http://evil", "PROXY: http://evil", "pRoXy: http://evil"]


@pytest.mark.parametrize("field", [*PROXIES, "HTTP_PROXY: http://evil", "HTTP-PROXY: http://evil"])
def test_cve_2016_5385_httpoxy(site: Server, field: str) -> None:
    environ = exchange(site, message("GET /x HTTP/1.1", "Host: h", field, "Connection: keep-alive")).seen.environ
    assert b"HTTP_PROXY" not in environ
    assert b"http_proxy" not in environ


@pytest.mark.parametrize("query", ["-s", "-d+allow_url_include%3d1", "-d&-s", "%2Ds", "--+-s", "+-s", "${ARGS}&-s"])
def test_cve_2012_1823_query_as_options(site: Server, query: str) -> None:
    expected = {
        "/php": [b"php", b"main.php"],
        "/php/script/a${ARGS}": [b"php", b"/php/script/a${ARGS}"],
        "/php/none": [b"/php/none"],
    }
    for path, argv in expected.items():
        assert exchange(site, message(f"GET {path}?{query} HTTP/1.1", "Host: h")).seen.argv == argv


ALIASES = [
    "X_Forwarded_For",
    "X-Forwarded_For",
    "X_Forwarded-For",
    "x_forwarded_for",
    "X.Forwarded.For",
    "X'Forwarded-For",
]


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_underscore_alias_spoofing(site: Server, trusting: Server, alias: str, *, is_first: bool) -> None:
    fields = [f"{alias}: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"]
    request = message("GET /x HTTP/1.1", "Host: h", *(fields if is_first else reversed(fields)))
    for server, address in ((site, b"127.0.0.1"), (trusting, b"203.0.113.9")):
        environ = exchange(server, request).seen.environ
        assert (environ[b"HTTP_X_FORWARDED_FOR"], environ[b"REMOTE_ADDR"]) == (b"203.0.113.9", address)
        assert b"6.6.6.6" not in environ.values()


META = ["REMOTE_ADDR", "REMOTE-ADDR", "REMOTE_USER", "AUTH-TYPE", "HTTPS", "SCRIPT_NAME", "PATH_INFO", "SERVER_NAME"]


@pytest.mark.parametrize("name", META)
def test_underscore_alias_spoofing_of_meta_variables(site: Server, name: str) -> None:
    plain = exchange(site, message("GET /x HTTP/1.1", "Host: h")).seen.environ
    environ = exchange(site, message("GET /x HTTP/1.1", "Host: h", f"{name}: evil")).seen.environ
    added = {key for key in environ if environ[key] == b"evil"}
    assert added <= {b"HTTP_" + name.replace("-", "_").encode()}
    assert set(environ) - added == set(plain)


SPLITS = [route.path for route in ROUTES if route.path.startswith("/split/") and not route.path.endswith("...")]
PATHS = ["%0d%0aSet-Cookie:%20e=1", "%0aSet-Cookie:%20e=1", "%0dSet-Cookie:%20e=1", "%00", "%E5%98%8ASet-Cookie:e=1"]


def assert_not_split(answer: Answer) -> None:
    assert not answer.values("set-cookie")
    assert b"e=1" not in answer.body


@pytest.mark.parametrize("path", [*SPLITS, *(f"/split/echo/{path}" for path in PATHS)])
def test_response_splitting(site: Server, path: str) -> None:
    answer = exchange(site, message(f"GET {path} HTTP/1.1", "Host: h"))
    assert_not_split(answer)
    if "%E5" in path:  # U+560A becomes a line feed if it is cut to eight bits
        assert answer.value("x-p") == "/\u560aSet-Cookie:e=1".encode()
    else:
        assert answer.status == (400 if "echo" in path else 502)
        assert_logged(site, answer, "control character|field name|no colon|Transfer-Encoding")


SMUGGLED = b"GET /e/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
# Bytes that only one of two servers parses as the end of the first request.
SMUGGLING: list[tuple[str, bytes]] = [
    ("te-cl", message(*CHUNKED, "Content-Length: 4", body=b"0\r\n\r\n" + SMUGGLED)),
    ("cl-te", message(*CHUNKED, f"Content-Length: {5 + len(SMUGGLED)}", body=b"0\r\n\r\n" + SMUGGLED)),
    ("te-te", message(*CHUNKED, "Transfer-Encoding: cow", body=b"0\r\n\r\n" + SMUGGLED)),
    ("te-blank", message(*CHUNKED[:2], "Transfer-Encoding : chunked", "Content-Length: 0", body=SMUGGLED)),
    ("te-tab", message(*CHUNKED[:2], "Transfer-Encoding:\x0bchunked", "Content-Length: 0", body=SMUGGLED)),
    ("cl-cl", message("POST /x HTTP/1.1", "Host: h", "Content-Length: 0", "Content-Length: 36", body=SMUGGLED)),
    ("cl-list", message("POST /x HTTP/1.1", "Host: h", "Content-Length: 0, 36", body=SMUGGLED)),
    ("cl-blank", message("POST /x HTTP/1.1", "Host: h", "Content-Length: 0 36", body=SMUGGLED)),
    ("cl-hex", message("POST /x HTTP/1.1", "Host: h", "Content-Length: 0x24", body=SMUGGLED)),
    ("te-http-1.0", message("POST /x HTTP/1.0", *CHUNKED[1:], "Connection: keep-alive", body=b"0\r\n\r\n" + SMUGGLED)),
    ("chunk-size", message(*CHUNKED, body=b"-0\r\n\r\n" + SMUGGLED)),
    ("chunk-size-0x", message(*CHUNKED, body=b"0x0\r\n\r\n" + SMUGGLED)),
    ("chunk-size-huge", message(*CHUNKED, body=b"f" * 40 + b"\r\n\r\n" + SMUGGLED)),
]


@pytest.mark.parametrize("request_", [pytest.param(request, id=name) for name, request in SMUGGLING])
def test_request_smuggling_te_cl(site: Server, request_: bytes) -> None:
    before = site.log.count("/e/hidden")
    with connected(site.address) as connection:
        answer = connection.ask(request_)
        assert answer.status in (0, 400, 413, 501)
        assert connection.ends()
    assert_no_guest(site, answer)
    assert site.log.count("/e/hidden") == before
