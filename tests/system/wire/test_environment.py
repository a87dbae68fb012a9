"""The whole environment of one request as one value: no variable is missing, and none is added."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.conftest import Server
from wagi_gateway.cgi.environ import SERVER_SOFTWARE

from ...support.http_client import connected, message
from .conftest import Route

ROUTES = (
    Route(
        "/operator/...",
        options='environment = { MODE = "test", HTTP_X_TENANT = "mine", PATH = "/bin", EMPTY = "" }\n'
        "pass_authorization = true",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and the changes from the environment of a plain `GET /x` with `Host: h`."""

    id: str
    request: bytes
    differences: dict[str, str | None] = field(default_factory=dict)
    """Variables with other values; None for an absent one."""
    source: str = "127.0.0.1"
    is_trusted: bool = False


PLAIN = {
    "AUTH_TYPE": "",
    "CONTENT_LENGTH": "0",
    "CONTENT_TYPE": "",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "HTTP_HOST": "h",
    "PATH_INFO": "",
    "PATH_TRANSLATED": "",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_HOST": "127.0.0.1",
    "REMOTE_USER": "",
    "REQUEST_METHOD": "GET",
    "REQUEST_SCHEME": "http",
    "REQUEST_URI": "/x",
    "SCRIPT_NAME": "/x",
    "SERVER_NAME": "h",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_SOFTWARE": SERVER_SOFTWARE.decode(),
    "X_FULL_URL": "http://h:80/x",
    "X_MATCHED_ROUTE": "/x",
    "X_RAW_PATH_INFO": "",
}

ROWS = [
    Row("plain", message("GET /x HTTP/1.1", "Host: h")),
    Row(
        "escapes",
        message("DELETE /e/%41b/../caf%c3%a9%20%2f%3b;x//y?q HTTP/1.1", "Host: h:81"),
        {
            "REQUEST_METHOD": "DELETE",
            "HTTP_HOST": "h:81",
            "SERVER_PORT": "81",
            "SCRIPT_NAME": "/e",
            "PATH_INFO": "/café /;;x//y",
            "PATH_TRANSLATED": "/café /;;x//y",
            "X_RAW_PATH_INFO": "/caf%c3%a9%20%2f%3b;x//y",
            "X_MATCHED_ROUTE": "/e/...",
            "QUERY_STRING": "q",
            "REQUEST_URI": "/e/%41b/../caf%c3%a9%20%2f%3b;x//y?q",
            "X_FULL_URL": "http://h:81/e/caf%c3%a9%20%2f%3b;x//y?q",
        },
    ),
    Row(
        "ipv6-host",
        message("OPTIONS /x HTTP/1.1", "Host: [2001:DB8::1]:8080"),
        {
            "REQUEST_METHOD": "OPTIONS",
            "HTTP_HOST": "[2001:DB8::1]:8080",
            "SERVER_NAME": "[2001:DB8::1]",
            "SERVER_PORT": "8080",
            "X_FULL_URL": "http://[2001:DB8::1]:8080/x",
        },
    ),
    Row(
        "http-1.0",
        message("GET /x? HTTP/1.0"),
        {
            "SERVER_PROTOCOL": "HTTP/1.0",
            "HTTP_HOST": None,
            "SERVER_NAME": "default.example",
            "SERVER_PORT": "8080",
            "REQUEST_URI": "/x",
            "X_FULL_URL": "http://default.example:8080/x",
        },
        source="127.0.0.3",
    ),
    Row(
        "trusted-proxy",
        message(
            "GET /a/b?c HTTP/1.1",
            "Host: a.example",
            "X-Forwarded-For: 6.6.6.6, 203.0.113.9",
            "X-Forwarded-For: 10.1.2.3",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 8443",
            "X_Forwarded_For: 7.7.7.7",
            "Proxy: evil",
        ),
        {
            "HTTPS": "on",
            "HTTP_HOST": "a.example",
            "HTTP_X_FORWARDED_FOR": "6.6.6.6, 203.0.113.9, 10.1.2.3",
            "HTTP_X_FORWARDED_PORT": "8443",
            "HTTP_X_FORWARDED_PROTO": "https",
            "PATH_INFO": "/a/b",
            "PATH_TRANSLATED": "/a/b",
            "QUERY_STRING": "c",
            "REMOTE_ADDR": "203.0.113.9",
            "REMOTE_HOST": "203.0.113.9",
            "REMOTE_PORT": None,
            "REQUEST_SCHEME": "https",
            "REQUEST_URI": "/a/b?c",
            "SCRIPT_NAME": "",
            "SERVER_NAME": "a.example",
            "SERVER_PORT": "8443",
            "X_FULL_URL": "https://a.example:8443/a/b?c",
            "X_MATCHED_ROUTE": "/...",
            "X_RAW_PATH_INFO": "/a/b",
        },
        is_trusted=True,
    ),
    Row(
        "untrusted-peer",
        message(
            "GET /x HTTP/1.1",
            "Host: h",
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 1",
            "X-Forwarded-Host: z",
            "Forwarded: for=6.6.6.6;proto=https",
            "X-Real-IP: 6.6.6.6",
        ),
        {
            "HTTP_FORWARDED": "for=6.6.6.6;proto=https",
            "HTTP_X_FORWARDED_FOR": "6.6.6.6",
            "HTTP_X_FORWARDED_HOST": "z",
            "HTTP_X_FORWARDED_PORT": "1",
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_REAL_IP": "6.6.6.6",
        },
    ),
    Row(
        "chunked-body",
        message(
            "POST /x HTTP/1.1",
            "Host: h",
            "Transfer-Encoding: chunked",
            'Content-Type: Text/Plain; Charset="UTF-8"',
            "Trailer: X-T",
            "TE: trailers",
            "Connection: TE",
            body=b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: evil\r\n\r\n",
        ),
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_LENGTH": "5",
            "CONTENT_TYPE": 'Text/Plain; Charset="UTF-8"',
            "HTTP_CONTENT_TYPE": 'Text/Plain; Charset="UTF-8"',
        },
    ),
    Row(
        "form",
        message(
            "PUT /x?a=%20b+c&&d=%zz?e=%00&'\"<> HTTP/1.1",
            "Host: h",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 7",
            "Expect: ",
            body=b"a=1&b=2",
        ),
        {
            "REQUEST_METHOD": "PUT",
            "CONTENT_LENGTH": "7",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "HTTP_CONTENT_TYPE": "application/x-www-form-urlencoded",
            "HTTP_EXPECT": "",
            "QUERY_STRING": "a=%20b+c&&d=%zz?e=%00&'\"<>",
            "REQUEST_URI": "/x?a=%20b+c&&d=%zz?e=%00&'\"<>",
            "X_FULL_URL": "http://h:80/x?a=%20b+c&&d=%zz?e=%00&'\"<>",
        },
    ),
    Row(
        "cookies",
        message(
            "GET /x HTTP/1.1",
            "Host: h",
            "Cookie: a=1; b=2",
            "X-A: 1",
            "cookie: c=3",
            "x-a: \t2 ",
            "X-Latin: \xe9",
            "X_A: evil",
            "X-B:",
        ),
        {"HTTP_COOKIE": "a=1; b=2; c=3", "HTTP_X_A": "1, 2", "HTTP_X_LATIN": "é", "HTTP_X_B": ""},
    ),
    Row(
        "operator",
        message(
            "GET /operator/ HTTP/1.1",
            "Host: h",
            "X-Tenant: theirs",
            "Mode: theirs",
            "Authorization: Bearer t",
            "Proxy-Authorization: Basic u",
        ),
        {
            "EMPTY": "",
            "HTTP_AUTHORIZATION": "Bearer t",
            "HTTP_MODE": "theirs",
            "HTTP_X_TENANT": "mine",
            "MODE": "test",
            "PATH": "/bin",
            "PATH_INFO": "/",
            "PATH_TRANSLATED": "/",
            "REQUEST_URI": "/operator/",
            "SCRIPT_NAME": "/operator",
            "X_FULL_URL": "http://h:80/operator/",
            "X_MATCHED_ROUTE": "/operator/...",
            "X_RAW_PATH_INFO": "/",
        },
    ),
]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
def test_environment(site: Server, trusting: Server, row: Row) -> None:
    server = trusting if row.is_trusted else site
    with connected(server.address, row.source) as connection:
        port = connection.socket.getsockname()[1]
        answer = connection.ask(row.request)
    expected = PLAIN | {
        "REMOTE_ADDR": row.source,
        "REMOTE_HOST": row.source,
        "REMOTE_PORT": str(port),
        "X_REQUEST_ID": answer.request_id,
    }
    expected |= {name: value for name, value in row.differences.items() if value is not None}
    wanted = {name: value for name, value in expected.items() if row.differences.get(name, "") is not None}
    assert {name.decode(): value.decode() for name, value in answer.seen.environ.items()} == wanted
