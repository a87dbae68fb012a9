"""docs/spec/cgi.md A7: guests that end early, late, with an error or never, and the release of their resources."""

from __future__ import annotations

import contextlib
import re
import struct
import time

import pytest

from tests.conftest import Server
from tests.support import guests
from tests.support.clock import assert_within

from ...support.env_guest import COUNT, CT, GROW, if_argument, opens, repeats
from ...support.http_client import Answer, access_line, assert_logged, connected, exchange, log_lines, message
from .conftest import Route

ONE_GUEST = "limits = { concurrency = 1, queue = 1, queue_time = 10 }"
FORGED = b"a\n2026-01-01T00:00:00.000Z ERROR forged\x1b[2J\rover\x9b x route=/admin id=1\n"

ROUTES = (
    Route("/l/streamed-trap", guests.says(CT + b"\n" + b"x" * 300_000, then="unreachable")),
    Route("/l/loop", guests.LOOP, 'limits = { time = "500ms" }'),
    Route("/l/streamed-loop", guests.says(CT + b"\nbegun", repeat="nop"), 'limits = { time = "500ms" }'),
    Route(
        "/l/stderr", repeats(16, b"a line of text\n" * 4369, fd=2, after=CT + b"\nhi"), 'limits = { stderr = "32KiB" }'
    ),
    Route("/l/lines", guests.says(CT + b"\nhi", stderr=FORGED)),
    Route("/l/spin", if_argument("(loop $spin (br $spin))"), ONE_GUEST),
    Route(
        "/l/pour",
        if_argument("(loop $pour (call $write (i32.const 1) (i32.const 0) (i32.const 65536)) (br $pour))"),
        ONE_GUEST,
    ),
    Route("/l/count", COUNT),
    Route("/l/grow", GROW),
    Route("/l/endless", guests.ENDLESS_STDOUT, 'limits = { stdout = "8MiB" }'),
    Route("/l/opens", opens(b"/", b"etc/passwd", b"/etc/passwd", b"../../etc/passwd", b".")),
    Route("/l/bad", guests.says(b"no header\n\n")),
    Route("/l/trap", guests.TRAP),
)


SECRETS = (b"/", b"wat", b"wasm", b"unreachable", b"trap", b"guest", b"l/")


def get(path: str) -> bytes:
    return message(f"GET {path} HTTP/1.1", "Host: h")


def assert_silent(answer: Answer) -> None:
    assert answer.is_complete
    assert not [secret for secret in SECRETS if secret in answer.body]


def test_l04_trap(site: Server) -> None:
    answer = exchange(site, get("/l/trap"))
    assert answer.status == 500
    assert_silent(answer)
    assert_logged(site, answer, "unreachable")
    assert "Traceback" not in site.log


def test_l05_trap_in_a_streamed_body(site: Server) -> None:
    with connected(site.address) as connection:
        answer = connection.ask(get("/l/streamed-trap"))
        assert (answer.status, answer.is_complete) == (200, False)
        assert connection.ends()
    assert not answer.body.strip(b"x")
    assert_logged(site, answer, "unreachable")
    assert_logged(site, answer, "cut off")


def test_l05_trap_in_a_streamed_body_to_http_1_0(site: Server) -> None:
    with connected(site.address) as connection:
        answer = connection.ask(message("GET /l/streamed-trap HTTP/1.0", "Host: h"))
    assert answer.status == 500


def test_l06_loop(site: Server) -> None:
    with connected(site.address) as connection:
        started = time.monotonic()
        connection.send(get("/l/loop"))
        assert exchange(site, get("/x")).seen["SCRIPT_NAME"] == b"/x"
        answer = connection.answer()
        assert answer.status == 504
        assert_within(time.monotonic() - started, 1.5)
        connection.check_next(answer)
    assert_silent(answer)
    assert_logged(site, answer, "504: .*time")


def test_l06_loop_after_the_body_began(site: Server) -> None:
    with connected(site.address) as connection:
        answer = connection.ask(get("/l/streamed-loop"))
        assert (answer.status, answer.body, answer.is_complete) == (200, b"begun", False)
        assert connection.ends()
    assert_logged(site, answer, "cut off")


def test_l07_much_stderr(site: Server) -> None:
    before = len(site.log)
    answer = exchange(site, get("/l/stderr"))
    assert (answer.status, answer.body) == (200, b"hi")
    access_line(site, answer)
    assert 8 * 1024 < len(site.log) - before < 64 * 1024
    assert_logged(site, answer, "dropped")


def test_l07_the_next_guest_is_heard(site: Server) -> None:
    with connected(site.address) as connection:
        for _ in range(10):
            connection.ask(get("/l/stderr"))
            answer = connection.ask(get("/l/lines"))
            access_line(site, answer)
            assert len([line for line in log_lines(site, answer) if "guest: " in line]) == 2


def test_l08_forged_stderr(site: Server) -> None:
    answer = exchange(site, get("/l/lines"))
    assert (answer.status, answer.body) == (200, b"hi")
    access_line(site, answer)
    log = site.log_path.read_bytes()
    assert not [octet for octet in (b"\x1b", b"\r", b"\xc2\x9b", b"\0") if octet in log]
    lines = log.decode().splitlines()
    forged = [line for line in lines if "forged" in line]
    assert forged
    assert all(re.match(r"\d{4}-\S+Z \w+ +guest: .* id=", line) for line in forged)
    request_id = (answer.value("x-request-id") or b"").decode()
    mine = [line for line in forged if line.endswith(request_id)]
    assert [re.findall(r"(route|id)=(\S+)", line) for line in mine] == [[("route", "/l/lines"), ("id", request_id)]]


@pytest.mark.parametrize("path", ["/l/spin", "/l/pour"])
def test_l09_client_leaves(site: Server, path: str) -> None:
    with connected(site.address) as connection:
        connection.send(get(f"{path}?go"))
        site.wait_for_log(f"guest: going .*route={path} ")
        left = time.monotonic()
    answer = exchange(site, get(path))  # the route's limit of one guest is free again
    assert (answer.status, answer.body) == (200, b"ready")
    assert_within(time.monotonic() - left, 2)
    assert "Traceback" not in site.log


def test_l10_parallel_requests_keep_apart(site: Server) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connected(site.address)) for _ in range(50)]
        for number, connection in enumerate(connections):
            connection.send(message("GET /x HTTP/1.1", "Host: h", f"X-Id: only-{number}-"))
        for number, connection in enumerate(connections):
            answer = connection.answer()
            assert answer.seen["HTTP_X_ID"] == f"only-{number}-".encode()
            assert answer.body.count(b"only-") == 1


def test_l11_nothing_survives(site: Server) -> None:
    assert [exchange(site, get("/l/count")).body for _ in range(3)] == [b"11"] * 3


def test_l12_memory(site: Server) -> None:
    assert struct.unpack("<i", exchange(site, get("/l/grow")).body) == (-1,)


def test_l12_endless_output(site: Server) -> None:
    before = site.memory()
    with connected(site.address) as connection:
        answer = connection.ask(get("/l/endless"))
    assert not answer.is_complete
    assert len(answer.body) <= 8 * 2**20
    assert site.memory() - before < 16 * 2**20
    assert_logged(site, answer, "cut off")


def test_l13_no_files(site: Server) -> None:
    *errors, devices = exchange(site, get("/l/opens")).body
    assert len(errors) == 4
    assert 0 not in errors
    assert devices == 0  # `.` of the directory /dev, which holds no file


@pytest.mark.parametrize("path", ["/l/bad", "/l/trap", "/e/%00"])
def test_l14_pipelined_after_a_failure(site: Server, path: str) -> None:
    with connected(site.address) as connection:
        connection.send(get(path) + message("GET /x HTTP/1.1", "Host: h", "X-Second: 1"))
        first = connection.answer()
        assert first.status in (400, 500, 502)
        if first.is_last:
            assert connection.ends()
        else:
            assert connection.answer().seen["HTTP_X_SECOND"] == b"1"
