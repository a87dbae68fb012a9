"""Requests without a body: the environment of each, or the statuses of its refusal."""

from __future__ import annotations

from ...support.env_guest import ECHO_PATH_INFO
from ...support.http_client import CLOSED, message
from .conftest import ENVIRONMENT, Route

ROUTES = (
    Route("/echo/...", ECHO_PATH_INFO),
    Route("/authorized", options="pass_authorization = true"),
    Route("/no-slash/...", options='encoded_slashes = "reject"'),
    Route("/[x]"),
    Route("/a{b}|c;d=e/..."),
)


Variables = dict[str, str | None]
"""Names and values; None stands for a variable that must be absent."""


def get(target: str, *fields: str, host: str = "h") -> bytes:
    return message(f"GET {target} HTTP/1.1", f"Host: {host}", *fields)


M01: Variables = {
    "SCRIPT_NAME": "/e",
    "PATH_INFO": "/foo",
    "PATH_TRANSLATED": "/foo",
    "QUERY_STRING": "a=b&c",
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "h",
    "SERVER_PORT": "81",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "HTTP_HOST": "h:81",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_HOST": "127.0.0.1",
    "HTTPS": None,
    "REMOTE_IDENT": None,
}


NOTHING: Variables = {
    **dict.fromkeys(("PATH_INFO", "PATH_TRANSLATED", "AUTH_TYPE", "REMOTE_USER", "CONTENT_TYPE", "QUERY_STRING"), ""),
    "CONTENT_LENGTH": "0",
    "HTTPS": None,
    "SCRIPT_NAME": "/x",
}


FORWARDED = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Host: z")


HOP_BY_HOP = ("Connection: close, X-Real", "X-Real: 7", "TE: trailers", "Keep-Alive: 1", "Proxy-Connection: a")


CONTENT = 'Content-Type: Multipart/X; B="q;Z"'


VARIABLES: list[tuple[str, bytes, Variables]] = [
    ("M01", get("/e/foo?a=b&c", host="h:81"), M01),
    ("M02", get("/x"), NOTHING),
    ("M02-empty-query", get("/x?"), NOTHING),
    (
        "M03",
        message("POST /x HTTP/1.1", "Host: h", "Content-Length: 15", CONTENT, body=b"fifteen bytes!!"),
        {"CONTENT_LENGTH": "15", "CONTENT_TYPE": 'Multipart/X; B="q;Z"', "HTTP_CONTENT_LENGTH": None},
    ),
    (
        "M04",
        message("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        {"CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": None},
    ),
    (
        "M06",
        get("/x", "Cookie: a=1", "X-F: 1", "Cookie: b=2", "x-f: 2"),
        {"HTTP_COOKIE": "a=1; b=2", "HTTP_X_F": "1, 2"},
    ),
    ("M07", get("/x", "pRoXy: evil"), {"HTTP_PROXY": None}),
    (
        "M10",
        get("/x", "Authorization: Basic dTpw", "Proxy-Authorization: Basic dTpw"),
        {"HTTP_AUTHORIZATION": None, "HTTP_PROXY_AUTHORIZATION": None, "AUTH_TYPE": "", "REMOTE_USER": ""},
    ),
    (
        "M10-opt-in",
        get("/authorized", "Authorization: Basic dTpw", "Proxy-Authorization: Basic dTpw"),
        {"HTTP_AUTHORIZATION": "Basic dTpw", "HTTP_PROXY_AUTHORIZATION": None, "AUTH_TYPE": "", "REMOTE_USER": ""},
    ),
    (
        "M13",
        message("GET /x HTTP/1.0"),
        {
            "SERVER_PROTOCOL": "HTTP/1.0",
            "SERVER_NAME": "default.example",
            "SERVER_PORT": "8080",
            "HTTP_HOST": None,
        },
    ),
    (
        "M16",
        get("/x", *FORWARDED, host="h:82"),
        {"REMOTE_ADDR": "127.0.0.1", "HTTPS": None, "SERVER_NAME": "h", "SERVER_PORT": "82"},
    ),
    (
        "M19",
        get("/e/test%3brun"),
        {"PATH_INFO": "/test;run", "X_RAW_PATH_INFO": "/test%3brun", "REQUEST_URI": "/e/test%3brun"},
    ),
    ("M20", get("/e/a%2Fb"), {"PATH_INFO": "/a/b", "X_RAW_PATH_INFO": "/a%2Fb", "SCRIPT_NAME": "/e"}),
    ("M25-dot-dot", get("/e/../x"), {"SCRIPT_NAME": "/x", "PATH_INFO": ""}),
    ("M25-encoded-dot-dot", get("/e/%2e%2E/x"), {"SCRIPT_NAME": "/x", "PATH_INFO": ""}),
    ("M25-dot", get("/e/./b"), {"SCRIPT_NAME": "/e", "PATH_INFO": "/b"}),
    ("M25-brackets", get("/[x]"), {"SCRIPT_NAME": "/[x]", "PATH_INFO": "", "REQUEST_URI": "/[x]"}),
    ("M25-brackets-encoded", get("/%5Bx%5d"), {"SCRIPT_NAME": "/[x]", "PATH_INFO": "", "REQUEST_URI": "/%5Bx%5d"}),
    ("M25-delimiters", get("/a{b}|c;d=e/f%5B"), {"SCRIPT_NAME": "/a{b}|c;d=e", "X_RAW_PATH_INFO": "/f%5B"}),
    ("M25-delimiters-encoded", get("/a%7Bb%7d%7Cc%3bd%3De/[g"), {"SCRIPT_NAME": "/a{b}|c;d=e", "PATH_INFO": "/[g"}),
    ("E10-decoded-once", get("/e/%252e%252e/x"), {"SCRIPT_NAME": "/e", "PATH_INFO": "/%2e%2e/x"}),
    ("E11-void-segments", get("/e//a//b/"), {"SCRIPT_NAME": "/e", "PATH_INFO": "//a//b/"}),
    ("E14-ipv6", get("/x", host="[2001:db8::1]:83"), {"SERVER_NAME": "[2001:db8::1]", "SERVER_PORT": "83"}),
    ("E14-ipv6-no-port", get("/x", host="[::1]"), {"SERVER_NAME": "[::1]", "SERVER_PORT": "80"}),
    ("E22-empty-value", get("/x", "X-Empty:"), {"HTTP_X_EMPTY": ""}),
    ("E22-trailing-blank", get("/x", "X-T: \ta b \t "), {"HTTP_X_T": "a b"}),
    ("E22-trailing-blank-type", get("/x", "Content-Type: a/b "), {"CONTENT_TYPE": "a/b", "HTTP_CONTENT_TYPE": "a/b"}),
    ("E22-trailing-blank-host", get("/x", host="h:86 "), {"HTTP_HOST": "h:86", "SERVER_PORT": "86"}),
    ("E27-latin-1", get("/x", "X-L: caf\xe9"), {"HTTP_X_L": "café"}),
    ("E27-utf-8", get("/x", "X-U: caf\xc3\xa9"), {"HTTP_X_U": "café"}),
    ("M29", get("/x?a=%20b+c&d=%zz?e"), {"QUERY_STRING": "a=%20b+c&d=%zz?e"}),
    ("M30", get("/e/a%zz%4"), {"PATH_INFO": "/a%zz%4"}),
    ("M35", get("/x"), dict.fromkeys((*ENVIRONMENT, "PATH", "HOME"))),
    (
        "M38",
        get("/x", *HOP_BY_HOP),
        {
            "HTTP_X_REAL": "7",
            **dict.fromkeys(("HTTP_CONNECTION", "HTTP_TE", "HTTP_KEEP_ALIVE", "HTTP_PROXY_CONNECTION")),
        },
    ),
]


ODD_NAMES = [
    ("M09-dot", "X.Y: evil"),
    ("M09-quote", "X'Y: evil"),
    ("M09-plus", "X+Y: evil"),
    ("M09-underscore", "X_Y: evil"),
]


TOO_LARGE = {400, 414, 431}


REFUSED = {400}


REFUSALS: list[tuple[str, bytes, set[int]]] = [
    ("M14-two-hosts", message("GET /x HTTP/1.1", "Host: a", "Host: b"), REFUSED),
    ("M14-same-host-twice", message("GET /x HTTP/1.1", "Host: a", "Host: a"), REFUSED),
    ("M14-absolute-two-hosts", message("GET http://a/x HTTP/1.1", "Host: a", "Host: b"), REFUSED),
    ("M14-absolute-no-host", message("GET http://a/x HTTP/1.1"), REFUSED),
    ("M14-absolute-bad-host", get("http://a/x", host="u@h"), REFUSED),
    ("M14-http-1.0-two-hosts", message("GET /x HTTP/1.0", "Host: a", "Host: b"), REFUSED),
    ("M14-no-host", message("GET /x HTTP/1.1"), REFUSED),
    *((f"M15-{host}", get("/x", host=host), REFUSED) for host in ("a b", "u@h", "h:99999", "h:8a", "h/../x", "[::1")),
    ("M15-h?x", get("/x", host="h?x"), REFUSED),
    ("M15-[::1]x", get("/x", host="[::1]x"), REFUSED),
    ("M15-h:0", get("/x", host="h:0"), REFUSED),
    ("E08-hidden-dot-segment", get("/e/a%2F..%2Fb"), REFUSED),
    ("E08-reject", get("/no-slash/a%2Fb"), {404}),
    ("E08-reject-lower-case", get("/no-slash/a%2fb"), {404}),
    ("E09-nul", get("/e/a%00b"), REFUSED),
    ("E09-control", get("/e/a%1bb"), REFUSED),
    ("E17-userinfo", get("http://u@a.example/x"), REFUSED),
    ("E17-bad-authority", get("http://a.example:99999/x"), REFUSED),
    ("E21-two-content-types", get("/x", "Content-Type: a/b", "Content-Type: c/d"), REFUSED),
    ("M23-ff", get("/e/%FF"), REFUSED),
    ("M23-overlong", get("/e/%C0%AF"), REFUSED),
    ("M25-above-root", get("/../x"), REFUSED),
    *(
        (f"M25-{target}", get(target), REFUSED)
        for target in ("/e//../x", "/e//a/../../x", "/x/a%2Fb/../../e", "/e/%2f/..", "/e/..//x", "//./e")
    ),
    ("M25-encoded-above-root", get("/%2e%2e/x"), REFUSED),
    ("M31", get("/echo/%0d%0aSet-Cookie:%20e=1"), REFUSED),
    ("M32-get", get("*"), REFUSED),
    ("M32-head", message("HEAD * HTTP/1.1", "Host: h"), REFUSED),
    ("M32-trace", message("TRACE /x HTTP/1.1", "Host: h"), {405}),
    ("M32-connect", message("CONNECT a:80 HTTP/1.1", "Host: a:80"), {CLOSED, 400, 405, 501}),
    ("M37-control", get("/x", "X-A: a\x01b"), REFUSED),
    ("M37-nul", get("/x", "X-A: a\0b"), REFUSED),
    ("M40-header", get("/x", "X-Big: " + "a" * 300_000), TOO_LARGE),
    ("M40-headers", get("/x", *(f"X-{number}: 1" for number in range(3000))), TOO_LARGE),
    ("M40-uri", get("/x?" + "a" * 70_000), TOO_LARGE),
    ("M40-uri-8k", get("/x?" + "a" * 9_000), TOO_LARGE),
]


CHAIN = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2"


PROXIED: list[tuple[str, bytes, Variables]] = [
    (
        "M17",
        get("/x", CHAIN, "X-Forwarded-Proto: https", host="a.example"),
        {
            "REMOTE_ADDR": "203.0.113.9",
            "REMOTE_HOST": "203.0.113.9",
            "HTTPS": "on",
            "SERVER_NAME": "a.example",
            "SERVER_PORT": "443",
            "REMOTE_PORT": None,
            "X_FULL_URL": "https://a.example:443/x",
        },
    ),
    (
        "M17-two-fields",
        get("/x", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9, 10.0.0.2"),
        {"REMOTE_ADDR": "203.0.113.9", "HTTPS": None},
    ),
    ("M17-port", get("/x", "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https"), {"SERVER_PORT": "8443"}),
    ("M17-nothing", get("/x", host="h:85"), {"REMOTE_ADDR": "127.0.0.1", "HTTPS": None, "SERVER_PORT": "85"}),
    ("P01-underscore", get("/x", "X_Forwarded_For: 6.6.6.6"), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-address-port", get("/x", "X-Forwarded-For: 203.0.113.9:4711"), {"REMOTE_ADDR": "203.0.113.9"}),
    ("P02-v6", get("/x", "X-Forwarded-For: 2001:db8::9"), {"REMOTE_ADDR": "2001:db8::9"}),
    ("P02-v6-brackets", get("/x", "X-Forwarded-For: [2001:db8::9]"), {"REMOTE_ADDR": "2001:db8::9"}),
    ("P02-v6-port", get("/x", "X-Forwarded-For: [2001:db8::9]:47"), {"REMOTE_ADDR": "2001:db8::9"}),
    ("P02-name", get("/x", "X-Forwarded-For: evil.example"), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-empty", get("/x", "X-Forwarded-For: "), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-proto", get("/x", "X-Forwarded-Proto: gopher"), {"HTTPS": None, "SERVER_PORT": "80"}),
    ("P02-port-zero", get("/x", "X-Forwarded-Port: 0"), {"SERVER_PORT": "80"}),
    ("P02-port-large", get("/x", "X-Forwarded-Port: 65536"), {"SERVER_PORT": "80"}),
    ("P02-port-zeros", get("/x", "X-Forwarded-Port: 000001999999999"), {"SERVER_PORT": "80"}),
    ("P02-zone", get("/x", "X-Forwarded-For: fe80::1%a status=200"), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-slash", get("/x", "X-Forwarded-For: 203.0.113.9/32"), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-garbage-is-the-last-hop", get("/x", "X-Forwarded-For: 203.0.113.9, x"), {"REMOTE_ADDR": "127.0.0.1"}),
    ("P02-port-word", get("/x", "X-Forwarded-Port: 80a"), {"SERVER_PORT": "80"}),
]
