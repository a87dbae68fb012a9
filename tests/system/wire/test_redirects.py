"""docs/spec/cgi.md R12, R13, T05: the route of a local redirect answers, in the same request."""

from __future__ import annotations

import pytest

from tests.conftest import Server
from tests.support import guests

from ...support.http_client import access_line, assert_logged, exchange, log_lines, message
from .conftest import Route

CLIENT = 'local_redirects = "client"'


def to(location: str, path: str, options: str = "") -> Route:
    return Route(path, guests.says(f"Location: {location}\n\n".encode()), options)


ROUTES = (
    to("/x?q=1", "/go/x"),
    to("/e/a%20b/../c?q", "/go/e"),
    to("//h.example/x", "/go/host"),
    to("/nowhere", "/go/nowhere"),
    to("/e/%00", "/go/nul"),
    to("/go/self", "/go/self"),
    to("/go/cycle-2", "/go/cycle-1"),
    to("/go/cycle-1", "/go/cycle-2"),
    to("/go/x", "/go/twice"),
    to("/x?q=1", "/go/client", CLIENT),
    to("/go/client-self", "/go/client-self", CLIENT),
    to("/healthz", "/go/healthz"),
    to("/go/alone", "/go/alone", "limits = { concurrency = 1, queue = 0 }"),
    to("/x?a b", "/go/blank"),
    to("/x?" + "a" * 9000, "/go/long"),
    Route("/go/octets", guests.says(b"Location: /x?\xe9\n\n")),
    Route("/go/trap", guests.says(b"Location: /x\n\n", then="unreachable")),
    Route("/go/exit", guests.exits(3, b"Location: /x\n\n")),
    Route("/go/strict", guests.exits(3, b"Location: /x\n\n"), "strict_exit = true"),
    Route("/go/loop", guests.says(b"Location: /x\n\n", repeat="nop"), 'limits = { time = "300ms" }'),
    Route("/go/body", guests.says(b"Location: /x\n\nbody")),
    Route("/go/status", guests.says(b"Status: 302\nLocation: /x\n\n")),
)
POST = ("Host: h", "Content-Length: 4", "Content-Type: a/b", "Cookie: c=1", "X-F: 1")


def test_r12_redispatch(site: Server) -> None:
    answer = exchange(site, message("POST /go/x?old HTTP/1.1", *POST, body=b"body"))
    assert not answer.values("location")
    seen = answer.seen
    expected = {
        "REQUEST_METHOD": b"GET",
        "SCRIPT_NAME": b"/x",
        "PATH_INFO": b"",
        "QUERY_STRING": b"q=1",
        "CONTENT_LENGTH": b"0",
        "CONTENT_TYPE": b"",
        "HTTP_CONTENT_TYPE": None,
        "HTTP_COOKIE": b"c=1",
        "HTTP_X_F": b"1",
        "HTTP_HOST": b"h",
        "SERVER_NAME": b"h",
        "REMOTE_ADDR": b"127.0.0.1",
    }
    assert {name: seen[name] for name in expected} == expected
    assert (seen.argv, seen.stdin) == ([b"/x", b"q=1"], b"")


def test_r12_head_stays_bodiless(site: Server) -> None:
    answer = exchange(site, message("HEAD /go/x HTTP/1.1", "Host: h"))
    assert (answer.status, answer.body) == (200, b"")


def test_r12_through_full_routing(site: Server) -> None:
    seen = exchange(site, message("GET /go/e HTTP/1.1", "Host: h")).seen
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == (b"/e", b"/c", b"q")


def test_r12_twice(site: Server) -> None:
    assert exchange(site, message("GET /go/twice HTTP/1.1", "Host: h")).seen["SCRIPT_NAME"] == b"/x"


CLIENTS = {"/go/client": b"/x?q=1", "/go/client-self": b"/go/client-self", "/go/body": b"/x", "/go/status": b"/x"}


@pytest.mark.parametrize("path", CLIENTS)
def test_r12_redirects_for_the_client(site: Server, path: str) -> None:
    answer = exchange(site, message(f"POST {path} HTTP/1.1", *POST, body=b"body"))
    assert (answer.status, answer.values("location")) == (302, [CLIENTS[path]])


@pytest.mark.parametrize("path", ["/go/self", "/go/cycle-1"])
def test_r13_loops_are_bounded(site: Server, path: str) -> None:
    answer = exchange(site, message(f"GET {path} HTTP/1.1", "Host: h"))
    assert 500 <= answer.status < 600
    assert not answer.values("location")
    assert_logged(site, answer, "(?i)redirect")
    assert len(log_lines(site, answer)) < 30


def test_r13_a_module_with_a_limit_of_one_redirects_to_itself(site: Server) -> None:
    for _ in range(20):
        assert exchange(site, message("GET /go/alone HTTP/1.1", "Host: h")).status == 502


# The mistake is the guest's, not the client's, and is logged.
@pytest.mark.parametrize("path", ["/go/blank", "/go/long", "/go/octets", "/go/nul"])
def test_t05_locations_no_guest_may_see(site: Server, path: str) -> None:
    answer = exchange(site, message(f"GET {path} HTTP/1.1", "Host: h"))
    assert answer.status == 502
    assert_logged(site, answer, "WARNING.*redirect")


# A redirect is followed after its guest has ended without an error.
ENDS = {"/go/trap": 500, "/go/strict": 500, "/go/loop": 504, "/go/exit": 200}


@pytest.mark.parametrize("path", ENDS)
def test_a_guest_that_redirects_and_ends_badly(site: Server, path: str) -> None:
    answer = exchange(site, message(f"GET {path} HTTP/1.1", "Host: h"))
    assert answer.status == ENDS[path]
    assert not answer.values("location")


# `//host/x` is a path of this server, and a target that no route serves is its 404.
@pytest.mark.parametrize("path", ["/go/host", "/go/nowhere"])
def test_t05_targets_without_a_route(site: Server, path: str) -> None:
    answer = exchange(site, message(f"GET {path} HTTP/1.1", "Host: h"))
    assert answer.status == 404
    assert not answer.values("location")
    assert access_line(site, answer)


def test_t05_built_in_route(site: Server) -> None:
    assert exchange(site, message("GET /go/healthz HTTP/1.1", "Host: h")).status == 404
