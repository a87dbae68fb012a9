"""docs/spec/cgi.md A4: the arguments of a guest."""

from __future__ import annotations

import pytest

from tests.conftest import Server

from ...support.http_client import exchange, message
from .conftest import Route

ROUTES = (
    Route("/argv/wagi", options='argv_mode = "wagi"'),
    Route("/argv/rfc", options='argv_mode = "rfc3875"'),
    Route("/argv/none", options='argv_mode = "none"'),
    Route("/argv/interpreter", options='argv = "interp main"'),
    Route("/argv/path/...", options='argv = "interp ${SCRIPT_NAME}"'),
    Route("/argv/template", options='argv = "interp ${SCRIPT_NAME} -- ${ARGS}"'),
)

# Rows of one request each: the target, the method, and the arguments after the first.
ARGUMENTS: list[tuple[str, str, list[bytes]]] = [
    ("A01-default", "GET /x?foo=bar&b=1", [b"foo=bar", b"b=1"]),
    ("A01-wagi", "GET /argv/wagi?foo=bar&b=1", [b"foo=bar", b"b=1"]),
    ("A01-rfc", "GET /argv/rfc?foo=bar&b=1", []),
    ("A01-none", "GET /argv/none?foo=bar&b=1", []),
    ("A02-wagi", "GET /argv/wagi?foo+b%61r", [b"foo+b%61r"]),
    ("A02-rfc", "GET /argv/rfc?foo+b%61r", [b"foo", b"bar"]),
    ("A02-rfc-head-less-post", "POST /argv/rfc?foo+b%61r", []),
    ("A02-rfc-encoded-equals", "GET /argv/rfc?a%3db+c", [b"a=b", b"c"]),
    ("A02-rfc-nul", "GET /argv/rfc?foo+a%00b", []),
    ("A02-none", "GET /argv/none?foo+bar", []),
    ("A04-empty", "GET /argv/wagi?", []),
    ("A04-empty-item", "GET /argv/wagi?a&&b", [b"a", b"b"]),
    ("A04-rfc-empty", "GET /argv/rfc?", []),
    ("A05-template", "GET /argv/interpreter?-s", [b"main"]),
    ("A05-template-d", "GET /argv/interpreter?-d+x", [b"main"]),
    ("A05-none", "GET /argv/none?-s", []),
    ("A05-none-d", "GET /argv/none?-d+x", []),
    ("C03-template-args", "GET /argv/template?a=1&-s", [b"/argv/template", b"--", b"a=1", b"-s"]),
]


@pytest.mark.parametrize(("line", "rest"), [pytest.param(line, rest, id=name) for name, line, rest in ARGUMENTS])
def test_arguments(site: Server, line: str, rest: list[bytes]) -> None:
    first, *others = exchange(site, message(f"{line} HTTP/1.1", "Host: h", "Content-Length: 0")).seen.argv
    assert others == rest
    path = line.split(" ")[1].partition("?")[0]
    assert first == (b"interp" if path in ("/argv/interpreter", "/argv/template") else path.encode())


def test_a05_a_path_brings_no_arguments(site: Server) -> None:
    argv = exchange(site, message("GET /argv/path/${ARGS}?a&-s HTTP/1.1", "Host: h")).seen.argv
    assert argv == [b"interp", b"/argv/path/${ARGS}"]
