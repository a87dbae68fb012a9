"""A server survives bad guests, clients and disks, and answers all other requests."""

from __future__ import annotations

import itertools
import socket
import struct
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running, wait_until
from tests.support import guests
from tests.support.attacks import LONG_NAP, LOOP, NAP, SLEEP, STREAM, get, send, together, wait_for_work
from tests.support.clock import assert_within
from tests.support.config import guest
from tests.support.error_body import error_body
from tests.support.neighbours import DESCRIPTOR_ROOM, others_answered
from wagi_gateway.errors import (
    AtCapacity,
    BadOutput,
    BodyTooLarge,
    GuestFailed,
    GuestTimeout,
    RequestError,
    RequestTimeout,
)

FREED = 2.0
"""Seconds until a sandbox is free after its client's disconnect, at most."""
MEMORY_ROOM = 32 * 2**20
IDLE_PIPES = 32
"""The most concurrent guests of a test; their pipes are kept for reuse."""
MAX_DESCRIPTORS = 4 * IDLE_PIPES + 32
"""The most descriptors of a server with as many idle pairs of pipes."""
MIB = 2**20


ENDLESS_HEADER_LINE = guests.says(
    b"content-type: text/plain; x=" + b"a" * 4096,
    repeat="(call $write (i32.const 1) (i32.const 1060) (i32.const 4000))",
)
GIANT_HEADER_BLOCK = guests.says(b"content-type: text/plain\n" + b"x: y\n" * 20_000 + b"\nbody")
TOUCHING_MEMORY_BOMB = guests.says(
    b"",
    then="""(loop $grow
      (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.const 1) (i32.const 65536))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      unreachable""",
)


@dataclass(frozen=True, slots=True)
class Attack:
    """A guest, the response that its client gets, and the line in the log."""

    name: str
    guest: str
    error: type[RequestError]
    reason: str


ATTACKS = (
    Attack("loop", guests.LOOP, GuestTimeout, r"limits\.time"),
    Attack("sleep", guests.SLEEP, GuestTimeout, r"limits\.time"),
    Attack("memory_bomb", TOUCHING_MEMORY_BOMB, GuestFailed, "unreachable"),
    Attack("stack_overflow", guests.STACK_OVERFLOW, GuestFailed, "call stack exhausted"),
    Attack("trap", guests.TRAP, GuestFailed, "unreachable"),
    Attack("giant_header_block", GIANT_HEADER_BLOCK, BadOutput, "header block is longer than 65536 bytes"),
    Attack("endless_header_line", ENDLESS_HEADER_LINE, BadOutput, "header block is longer than 65536 bytes"),
    Attack("no_output", guests.NO_OUTPUT, BadOutput, "printed nothing"),
    Attack("exit_without_output", guests.exits(1), GuestFailed, "exited with code 1"),
    Attack("no_header_block", guests.says(b"secret: of the guest"), BadOutput, "empty line"),
    Attack("local_redirect_loop", guests.says(b"location: /local_redirect_loop\n\n"), BadOutput, "redirect"),
    Attack("no_header", guests.says(b"secret of the guest\n\n"), BadOutput, "no colon"),
)
CUT_OFF = (
    ("endless_stdout", guests.ENDLESS_STDOUT, r"limits\.stdout"),
    ("endless_stderr", guests.ENDLESS_STDERR, r"limits\.time"),
    ("late_trap", guests.says(guests.CONTENT_TYPE + b"x" * 300_000, then="unreachable"), "unreachable"),
)
REASONS = {attack.name: attack.reason for attack in ATTACKS} | {name: reason for name, _, reason in CUT_OFF}
HOLDS = {"hold_loop": LOOP, "hold_sleep": SLEEP, "hold_stream": STREAM}

CONFIG = """
    [server]
    send_timeout = "1s"
    head_time = "2s"
    [limits]
    time = "1s"
    memory = "64MiB"
    stdout = "64MiB"
    stderr = "64KiB"
    body = "1MiB"
    body_time = "500ms"
"""


@pytest.fixture(scope="module")
def shared_city(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """One server with every guest of this file."""
    texts = {attack.name: attack.guest for attack in ATTACKS} | {name: guest for name, guest, _ in CUT_OFF} | HOLDS
    texts |= {"hello": guests.HELLO, "nap": NAP, "queue": NAP, "impatient": LONG_NAP}
    # On a busy machine no guest that ends in another way may reach `limits.time` first.
    timed = {name for name, reason in REASONS.items() if "time" in reason}
    config = textwrap.dedent(CONFIG) + "".join(
        guest(f"/{name}", name, time="1s" if name in timed else "30s") for name in (*REASONS, "hello")
    )
    config += "".join(guest(f"/{name}", name, concurrency=1, time="30s") for name in HOLDS)
    config += guest("/nap", "nap", time="5s", concurrency=IDLE_PIPES)
    config += guest("/stalled", "hold_stream", concurrency=1, stdout="1GiB")
    config += guest("/queue", "queue", concurrency=2, queue=3, time="5s")
    config += guest("/impatient", "impatient", concurrency=1, queue_time="200ms", time="20s")
    directory = tmp_path_factory.mktemp("city")
    for name, text in texts.items():
        (directory / f"{name}.wat").write_text(text)
    with running(directory, config, cache=cache) as server:
        together(IDLE_PIPES, lambda _: httpx.get(f"{server.url}/nap?sleep", trust_env=False, timeout=30))
        yield server


@pytest.fixture
def city(shared_city: Server) -> Iterator[Server]:
    """The shared server, checked for damage after each test."""
    with unharmed(shared_city):
        yield shared_city


@contextmanager
def unharmed(server: Server) -> Iterator[None]:
    """Fails unless the server responds, has no error in its log, and has released descriptors and memory."""
    server.get("/hello")
    logged = len(server.log)
    descriptors = max(server.descriptors(), MAX_DESCRIPTORS) + DESCRIPTOR_ROOM
    memory = server.memory() + MEMORY_ROOM
    yield
    wait_until(lambda: server.descriptors() <= descriptors, message=lambda: f"{server.descriptors()} descriptors open")
    wait_until(lambda: server.memory() <= memory, message=lambda: f"{server.memory() >> 20} MiB resident")
    assert server.process.poll() is None
    assert server.get("/hello").text == "hello world\n"
    assert "Traceback" not in server.log[logged:]


def reset(connection: socket.socket) -> None:
    """Resets a connection, like a client that crashes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# Guests


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_bad_guest_is_an_error_for_its_client_alone(city: Server, attack: Attack) -> None:
    with others_answered(city):
        response = city.get(f"/{attack.name}")
    body = error_body(attack.error.public, response.headers["x-request-id"])
    assert (response.status_code, response.text) == (attack.error.status, body)
    request_id = response.headers["x-request-id"]
    city.wait_for_log(rf"WARNING .*{attack.reason}.* route=/{attack.name} id={request_id}\n")


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, _, reason in CUT_OFF])
def test_a_guest_that_goes_wrong_in_its_body_is_cut_off(city: Server, name: str, reason: str) -> None:
    with others_answered(city), city.client.stream("GET", f"{city.url}/{name}") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            for _ in response.iter_raw():
                pass
    request_id = response.headers["x-request-id"]
    city.wait_for_log(rf"WARNING .*{reason}.*; the response was cut off route=/{name} id={request_id}\n")


def test_many_bad_guests_at_once_leave_room_for_others(city: Server) -> None:
    paths = [
        "/loop",
        "/sleep",
        "/trap",
        "/memory_bomb",
        "/stack_overflow",
        "/endless_header_line",
        "/no_output",
        "/loop",
    ]
    with others_answered(city):
        statuses = together(
            len(paths), lambda number: httpx.get(city.url + paths[number], trust_env=False, timeout=30).status_code
        )
    assert statuses == [504, 504, 500, 500, 500, 502, 502, 504]


# Clients that stall or disconnect


def test_a_reader_that_stalls_holds_no_sandbox_and_no_connection(city: Server) -> None:
    descriptors = city.descriptors()
    with socket.socket() as connection:
        with others_answered(city):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(city.address)
            connection.sendall(get("/stalled?stream"))
            connection.recv(1024)
            city.wait_for_log(r"WARNING .*limits\.time.*; the response was cut off route=/stalled id=")
            assert city.get("/stalled").text == "hello\n"
        wait_until(lambda: city.descriptors() <= descriptors, 15, lambda: "send_timeout did not end the connection")


LEAVING: tuple[tuple[str, bytes, Callable[[socket.socket], None]], ...] = (
    ("closed", b"", socket.socket.close),
    ("reset", b"", reset),
    ("pipelined", get("/hello"), socket.socket.close),
)


@pytest.mark.parametrize(("more", "leave"), [pytest.param(*rest, id=name) for name, *rest in LEAVING])
@pytest.mark.parametrize("name", HOLDS)
def test_a_client_that_leaves_frees_its_sandbox(
    city: Server, name: str, more: bytes, leave: Callable[[socket.socket], None]
) -> None:
    at_work = city.log.count(f"at work route=/{name} ")
    with others_answered(city):
        connection = send(city, get(f"/{name}?go") + more)
        wait_for_work(city, f"/{name}", at_work + 1)
        leave(connection)
        begin = time.monotonic()
        assert city.get(f"/{name}", timeout=10).text == "hello\n"
        assert_within(time.monotonic() - begin, FREED)


def test_a_client_that_leaves_the_queue_never_starts_its_guest(city: Server) -> None:
    with send(city, get("/impatient?hold")):
        wait_for_work(city, "/impatient")
        before = city.log.count("at work route=/impatient")
        send(city, get("/impatient?gone")).close()
        city.wait_for_log(r"GET /impatient\?gone status=499 (?!.*guest_ms)")
    city.wait_for_log(r"GET /impatient\?hold status=499")
    assert city.get("/impatient").text == "hello\n"
    assert city.log.count("at work route=/impatient") == before


UPLOAD = b"POST /hold_loop?%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n%s"


@pytest.mark.parametrize(
    ("framing", "part"),
    [(b"Content-Length: 1000", b"half"), (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n")],
    ids=["length", "chunked"],
)
def test_an_upload_that_is_broken_off_never_starts_its_guest(city: Server, framing: bytes, part: bytes) -> None:
    query = framing.split()[-1]
    before = city.log.count("at work")
    send(city, UPLOAD % (query, framing, part)).close()
    city.wait_for_log(rf"POST /hold_loop\?{query.decode()} status=499 (?!.*guest_ms)")
    assert city.log.count("at work") == before


def test_a_declared_upload_over_the_limit_is_refused_before_it_is_sent(city: Server) -> None:
    with send(city, UPLOAD % (b"declared", b"Expect: 100-continue\r\nContent-Length: 1048577", b"")) as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\n\r\nContent Too Large: the request body may have at most 1048576 bytes\n" in answer
    city.wait_for_log(r"status=413 route=/hold_loop .*limits\.body")


def test_an_upload_without_length_over_the_limit_is_refused(city: Server) -> None:
    chunks = (b"x" * 65536 for _ in range(17))
    response = httpx.post(f"{city.url}/hold_loop?chunked", content=chunks, trust_env=False, timeout=30)
    assert (response.status_code, response.text) == (
        413,
        error_body(BodyTooLarge(bound=2**20).public, response.headers["x-request-id"]),
    )


def test_an_upload_that_takes_too_long_is_refused(city: Server) -> None:
    with others_answered(city), send(city, UPLOAD % (b"slow", b"Content-Length: 4", b"x")) as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert f"\r\n\r\n{RequestTimeout.public}\n".encode() in answer
    city.wait_for_log(r"status=408 route=/hold_loop .*limits\.body_time")


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: ", b"x" * 65536),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n" * 10_000),
        (b"GET /", b"x" * 65536),
    ],
    ids=["value", "fields", "target"],
)
def test_a_request_head_without_end_is_refused(city: Server, beginning: bytes, more: bytes) -> None:
    memory = city.memory()
    with send(city, beginning) as connection, others_answered(city):
        connection.sendall(more * (16 * MIB // len(more)))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert city.memory() < memory + 8 * MIB
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("beginning", [b"", b"GET /hel", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_request_head_that_takes_too_long_ends_its_connection(city: Server, beginning: bytes) -> None:
    with send(city, beginning) as connection:
        assert connection.recv(1024) == b""


# Load


def test_ten_thousand_connections_come_and_go(city: Server) -> None:
    beginnings = (b"", b"GET /hel", get("/hello"), get("/hold_sleep?x"))
    with others_answered(city):
        for _ in range(100):
            batch = [city.connect() for _ in range(100)]
            for connection, beginning in zip(batch, itertools.cycle(beginnings), strict=False):
                connection.sendall(beginning)
            for connection, leave in zip(batch, itertools.cycle((socket.socket.close, reset, reset)), strict=False):
                leave(connection)
    assert city.get("/hold_sleep", timeout=10).text == "hello\n"


def test_requests_beyond_concurrency_and_queue_are_turned_away(city: Server) -> None:
    responses = together(10, lambda _: httpx.get(f"{city.url}/queue?nap", trust_env=False, timeout=30))
    assert sorted(response.status_code for response in responses) == [200] * 5 + [503] * 5
    for response in responses:
        if response.status_code == 503:
            body = error_body(AtCapacity.public, response.headers["x-request-id"])
            assert (response.headers["retry-after"], response.text) == ("1", body)
    city.wait_for_log(r"WARNING .*503: 3 requests wait already route=/queue id=")


def test_a_request_that_waits_too_long_is_turned_away(city: Server) -> None:
    at_work = city.log.count("at work route=/impatient ")
    with send(city, get("/impatient?hold")) as connection, others_answered(city):
        wait_for_work(city, "/impatient", at_work + 1)
        response = city.get("/impatient")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        city.wait_for_log(r"WARNING .*503: no place became free in 0\.2 s route=/impatient id=")
        assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
