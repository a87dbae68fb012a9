"""docs/spec/cgi.md A1, A2: the environment of each request, and the requests that are refused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conftest import Server

from ...support.http_client import Answer, assert_logged, assert_no_guest, connected, exchange, message
from .requests import (
    FORWARDED,
    ODD_NAMES,
    PROXIED,
    REFUSALS,
    VARIABLES,
    Variables,
    get,
)
from .requests import ROUTES as ROUTES


def assert_variables(answer: Answer, expected: Variables) -> None:
    environ = answer.seen.environ
    found = {name: environ.get(name.encode()) for name in expected}
    assert found == {name: value if value is None else value.encode() for name, value in expected.items()}


def ids(rows: Iterable[tuple[str, bytes, object]]) -> list[object]:
    return [pytest.param(request, expected, id=name) for name, request, expected in rows]


@pytest.mark.parametrize(("request_", "expected"), ids(VARIABLES))
def test_variables(site: Server, request_: bytes, expected: Variables) -> None:
    answer = exchange(site, request_)
    assert_variables(answer, expected)
    assert answer.seen.stdin == (request_.partition(b"\r\n\r\n")[2] if b"\r\n0\r\n" not in request_ else b"abcde")
    assert not [value for value in answer.seen.environ.values() if b"evil" in value]


@pytest.mark.parametrize("name", [pytest.param("/authorized", id="M10-opt-in"), pytest.param("/x", id="M10")])
def test_credentials_have_no_second_name(site: Server, name: str) -> None:
    fields = ("Authorization: Basic dTpw", "Proxy-Authorization: Basic eDp5")
    environ = exchange(site, get(name, *fields)).seen.environ
    assert [key for key, value in environ.items() if b"dTpw" in value] == [b"HTTP_AUTHORIZATION"] * (name != "/x")
    assert not [key for key, value in environ.items() if b"eDp5" in value]


def test_e01_software_is_the_server_field(site: Server, parser: str) -> None:
    answer = exchange(site, get("/x"))
    if parser == "httptools":  # a bare uvicorn names itself
        assert answer.seen["SERVER_SOFTWARE"] == answer.value("server")
    assert (answer.seen["SERVER_SOFTWARE"] or b"").startswith(b"wagi-gateway/")


def test_m02_with_and_without_a_question_mark(site: Server) -> None:
    of_this_request = {b"REQUEST_URI", b"X_FULL_URL", b"REMOTE_PORT", b"X_REQUEST_ID"}
    plain, empty = (
        {name: value for name, value in exchange(site, get(target)).seen.environ.items() if name not in of_this_request}
        for target in ("/x", "/x?")
    )
    assert plain == empty


# A parser may refuse such a name; an accepted one must not set another field's variable.


@pytest.mark.parametrize("field", [pytest.param(field, id=name) for name, field in ODD_NAMES])
def test_odd_field_names(site: Server, field: str) -> None:
    answer = exchange(site, get("/x", field))
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert not [name for name, value in answer.seen.environ.items() if value == b"evil" or b"X_Y" in name]


# The authority of an absolute target has precedence over Host.
ABSOLUTE: list[tuple[str, bytes, Variables]] = [
    (
        "E17-absolute",
        get("http://a.example:84/e/b?c"),
        {"SERVER_NAME": "a.example", "SERVER_PORT": "84", "SCRIPT_NAME": "/e", "PATH_INFO": "/b", "QUERY_STRING": "c"},
    ),
    ("E17-absolute-no-port", get("http://a.example/x"), {"SERVER_NAME": "a.example", "SERVER_PORT": "80"}),
    ("E17-absolute-host", get("http://a.example/x"), {"HTTP_HOST": "a.example"}),
    ("E17-absolute-ipv6", get("http://[::1]:84/x"), {"SERVER_NAME": "[::1]", "SERVER_PORT": "84"}),
]


@pytest.mark.parametrize(("request_", "expected"), ids(ABSOLUTE))
def test_absolute_form(site: Server, request_: bytes, expected: Variables) -> None:
    assert_variables(exchange(site, request_), expected)


def test_absolute_form_without_a_path(trusting: Server, parser: str) -> None:
    answer = exchange(trusting, get("http://a.example?c"))
    if answer.status == 400:  # uvicorn has no path for it
        assert parser == "httptools"
        return
    assert_variables(answer, {"SERVER_NAME": "a.example", "SCRIPT_NAME": "", "QUERY_STRING": "c"})


@pytest.mark.parametrize(("request_", "statuses"), ids(REFUSALS))
def test_refusals(site: Server, request_: bytes, statuses: set[int]) -> None:
    answer = exchange(site, request_)
    assert answer.status in statuses
    assert b"GATEWAY_INTERFACE" not in answer.body
    assert not answer.values("set-cookie")
    assert_no_guest(site, answer)
    if answer.request_id:
        assert_logged(site, answer, r"reason=\S|\d: \S")


def test_m31_echo_path_info_works_otherwise(site: Server) -> None:
    assert exchange(site, get("/echo/%41b")).values("x-p") == [b"/Ab"]


def test_m32_options_of_the_server(trusting: Server) -> None:
    answer = exchange(trusting, message("OPTIONS * HTTP/1.1", "Host: h"))
    assert answer.status in (200, 204)
    methods = {method.strip() for method in (answer.value("allow") or b"").split(b",")}
    assert {b"GET", b"HEAD", b"POST", b"OPTIONS"} <= methods
    assert b"TRACE" not in methods
    assert b"GATEWAY_INTERFACE" not in answer.body
    assert_no_guest(trusting, answer)


def test_m32_options_of_a_route_is_the_guests(site: Server) -> None:
    assert exchange(site, message("OPTIONS /x HTTP/1.1", "Host: h")).seen["REQUEST_METHOD"] == b"OPTIONS"


def test_m32_with_a_route_for_everything(trusting: Server) -> None:
    assert exchange(trusting, get("*")).status == 400
    assert exchange(trusting, message("TRACE /x HTTP/1.1", "Host: h")).status == 405


def test_e06_root_route(trusting: Server) -> None:
    assert_variables(exchange(trusting, get("/a%20b")), {"SCRIPT_NAME": "", "PATH_INFO": "/a b"})
    assert_variables(exchange(trusting, get("//h/x")), {"SCRIPT_NAME": "", "PATH_INFO": "//h/x"})


def test_m37_folded_field(site: Server) -> None:
    answer = exchange(site, get("/x", "X-A: one\r\n two"))
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.seen["HTTP_X_A"] == b"one two"


@pytest.mark.parametrize("method", [pytest.param("get", id="M39-get"), pytest.param("BREW", id="M39-brew")])
def test_odd_methods(site: Server, method: str) -> None:
    answer = exchange(site, message(f"{method} /x HTTP/1.1", "Host: h"))
    assert 400 <= answer.status < 500 or answer.status == 501 or answer.seen["REQUEST_METHOD"] == method.encode()


# From a trusted peer, and 10/8 is trusted: the proxy's value is on the right, the client's own to the left.


@pytest.mark.parametrize(("request_", "expected"), ids(PROXIED))
def test_trusted_proxy(trusting: Server, request_: bytes, expected: Variables) -> None:
    assert_variables(exchange(trusting, request_), expected)


def test_untrusted_address_of_this_host(trusting: Server) -> None:
    with connected(trusting.address, "127.0.0.2") as connection:
        answer = connection.ask(get("/x", *FORWARDED))
    assert_variables(answer, {"REMOTE_ADDR": "127.0.0.2", "HTTPS": None, "HTTP_X_FORWARDED_FOR": "6.6.6.6"})
