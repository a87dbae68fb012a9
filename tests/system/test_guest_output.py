"""What guests print, as clients and the log receive it: in one piece or many, whole, and without a cost to others."""

from __future__ import annotations

import re
import socket
import time

import pytest

from tests.conftest import Serve, Server, wait_until
from tests.support import guests
from tests.support.attacks import get, send
from tests.support.clock import assert_within
from tests.support.config import guest
from tests.support.neighbours import others_answered

MIB = 2**20
HEAD = guests.CONTENT_TYPE
FD_CLOSE = '(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))'
FD_RENUMBER = '(import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))'


def gathers(*pieces: bytes, descriptor: int = 1, first: bytes = HEAD) -> str:
    """A guest that prints `first`, then all pieces with one call, whose count it ignores."""
    iovecs, data, at = "", b"", 65536
    for number, piece in enumerate(pieces):
        iovecs += f"(i32.store (i32.const {512 + 8 * number}) (i32.const {at + len(data)}))"
        iovecs += f"(i32.store (i32.const {516 + 8 * number}) (i32.const {len(piece)}))"
        data += piece
    return f"""(module {guests.FD_WRITE} (memory (export "memory") {2 + len(data) // 65536 + 1})
     (data (i32.const 1024) {guests.wat_string(first)}) (data (i32.const {at}) {guests.wat_string(data)})
     {guests.WRITE}
     (func (export "_start")
      {f"(call $write (i32.const 1) (i32.const 1024) (i32.const {len(first)}))" if first else ""}
      {iovecs}
      (drop (call $fd_write (i32.const {descriptor}) (i32.const 512) (i32.const {len(pieces)}) (i32.const 8)))))"""


A, B = b"a" * 40_000, b"b" * 40_000


@pytest.mark.parametrize(
    ("pieces", "first"),
    [
        ((HEAD + b"hello", b" world\n"), b""),
        ((b"one ", b"two ", b"three\n"), HEAD),
        ((b"", b"after an empty one\n"), HEAD),
        ((b"", b"", b"", b"x"), HEAD),
        ((A, B), HEAD),
        ((A, B, A, B), HEAD),
        ((HEAD, A + B), b""),
        ((HEAD[:10], HEAD[10:], b"head in two pieces"), b""),
        (tuple(b"%d," % number for number in range(1000)), HEAD),
    ],
    ids="head and body|three|first is empty|all but one|crosses 64 KiB|four|large|split head|1000".split("|"),
)
def test_all_pieces_of_a_gathered_write(serve: Serve, pieces: tuple[bytes, ...], first: bytes) -> None:
    server = serve(guest("/gathers", "gathers"), gathers=gathers(*pieces, first=first))
    for _ in range(12):  # on a thread, then on the event loop's
        response = server.get("/gathers")
        assert (response.status_code, HEAD + response.content) == (200, first + b"".join(pieces))


@pytest.mark.parametrize(
    "pieces",
    [(b"one ", b"two ", b"three\n"), (b"", b"one ", b"two three\n"), (b"one two three", b"", b"\n")],
    ids=["three", "first is empty", "second is empty"],
)
def test_all_pieces_of_standard_error(serve: Serve, pieces: tuple[bytes, ...]) -> None:
    server = serve(guest("/gathers", "gathers"), gathers=gathers(*pieces, descriptor=2))
    assert server.get("/gathers").status_code == 200
    server.wait_for_log(r"guest: one two three route=/gathers")


@pytest.mark.parametrize("code", [1, 125, 126, 127, 134, 139, 254, 255, -1, 256])
def test_a_response_before_a_failure_is_delivered(serve: Serve, code: int) -> None:
    server = serve(guest("/exits", "exits"), exits=guests.exits(code, HEAD + b"whole\n"))
    for _ in range(12):
        response = server.get("/exits")
        assert (response.status_code, response.text) == (200, "whole\n")
    seen = code & 255 or 255
    pattern = rf"(?m)^\S+ WARNING .*the guest exited with code {seen}\b"
    wait_until(lambda: len(re.findall(pattern, server.log)) == 12, message=lambda: server.log)


SLEEP = """(i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (i64.const {nanoseconds}))
 (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300)))"""
TWO_SECONDS = SLEEP.format(nanoseconds=2 * 10**9)
DONE = "(call $write (i32.const 2) (i32.const 2048) (i32.const 5))"
CLOSE, RENUMBER = "(drop (call $close (i32.const 1)))", "(drop (call $renumber (i32.const 2) (i32.const 1)))"
DONE_BY_1 = "(call $write (i32.const 1) (i32.const 2048) (i32.const 5))"
WRITES_ON = """(if (i32.ne (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 8))
 (then unreachable))"""


def closes(instructions: str) -> str:
    """A guest that prints a response and then runs instructions."""
    imports = f"{FD_CLOSE} {FD_RENUMBER} {guests.POLL} {guests.PROC_EXIT} {guests.CLOCK}"
    text = guests.says(HEAD + b"whole\n", then=instructions, imports=imports)
    return text.replace("(func (export", '(data (i32.const 2048) "done\\n") (func (export', 1)


@pytest.mark.parametrize(
    "instructions",
    [
        f"{CLOSE} {TWO_SECONDS} {DONE}",
        f"{CLOSE} {guests.burns(2000)} {DONE}",
        f"{RENUMBER} {TWO_SECONDS} {DONE_BY_1}",
        f"{CLOSE} {CLOSE} {WRITES_ON} {TWO_SECONDS} {DONE}",
    ],
    ids=["sleeps", "computes", "renumbers", "writes on"],
)
def test_a_closed_output_ends_the_response_and_not_the_guest(serve: Serve, instructions: str) -> None:
    server = serve(guest("/closes", "closes", time="20s"), closes=closes(instructions))
    begin = time.monotonic()
    response = server.get("/closes")
    took = time.monotonic() - begin
    assert (response.status_code, response.text) == (200, "whole\n")
    assert "guest: done" not in server.log
    server.wait_for_log(r"guest: done route=/closes")
    assert_within(took, 1)
    assert warnings_of(server) == ""


def warnings_of(server: Server) -> str:
    """The warnings about guests."""
    return "\n".join(line for line in server.log.splitlines() if " WARNING " in line and "route=" in line)


def test_a_failure_after_a_closed_output(serve: Serve) -> None:
    server = serve(guest("/closes", "closes"), closes=closes(f"{CLOSE} (call $exit (i32.const 3))"))
    for _ in range(12):
        response = server.get("/closes")
        assert (response.status_code, response.text) == (200, "whole\n")
    wait_until(lambda: warnings_of(server).count("the guest exited with code 3") == 12, message=lambda: server.log)


@pytest.mark.parametrize("size", [1, 16, 65536])
def test_more_than_may_be_printed(serve: Serve, size: int) -> None:
    repeat = f"(call $write (i32.const 1) (i32.const 1024) (i32.const {size}))"
    server = serve(guest("/prints", "prints", stdout="100KiB", time="20s"), prints=guests.says(HEAD, repeat=repeat))
    answer = server.exchange(b"GET /prints HTTP/1.0\r\n\r\n", timeout=60)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert len(body) <= 100 * 1024
    assert b" 502 " in head or len(body) == 100 * 1024 - len(HEAD)
    server.wait_for_log(r"printed more than limits.stdout \(102400 bytes\)")


ERRORS = "(call $write (i32.const 2) (i32.const 1024) (i32.const {size}))"


@pytest.mark.parametrize("size", [1, 16, 65536])
@pytest.mark.parametrize("limit", ["0", "10KiB"])
def test_standard_error_beyond_its_limit_costs_nothing(serve: Serve, size: int, limit: str) -> None:
    flood = guests.if_argument(f"(loop $forever {ERRORS.format(size=size)} (br $forever))", pages=3)
    server = serve(
        guest("/flood", "flood", stderr=limit, time="2s") + guest("/hello", "hello"), flood=flood, hello=guests.HELLO
    )
    assert server.get("/flood").status_code == 200
    before = server.memory()
    with others_answered(server):
        assert server.get("/flood?go").status_code == 504
    assert server.memory() - before < 16 * MIB
    assert len(server.log) < 100_000
    if limit != "0":
        server.wait_for_log(r"more bytes of standard error were dropped \(limits.stderr\) route=/flood")


def stream(count: int) -> str:
    """A guest that prints `count` pieces of 64 KiB."""
    return f"""(module {guests.FD_WRITE} (memory (export "memory") 3) (global $left (mut i32) (i32.const {count}))
     (data (i32.const 1024) {guests.wat_string(HEAD)}) {guests.WRITE}
     (func (export "_start")
      (call $write (i32.const 1) (i32.const 1024) (i32.const {len(HEAD)}))
      (loop $more
       (call $write (i32.const 1) (i32.const 65536) (i32.const 65536))
       (global.set $left (i32.sub (global.get $left) (i32.const 1)))
       (br_if $more (global.get $left)))))"""


@pytest.mark.timeout(180)
def test_a_long_response_takes_little_memory(serve: Serve) -> None:
    server = serve(guest("/stream", "stream", stdout="2GiB", time="150s"), stream=stream(16384))
    server.get("/healthz")
    before, most, received = server.memory(), 0, 0
    with send(server, b"GET /stream HTTP/1.0\r\n\r\n") as connection:
        buffer = memoryview(bytearray(MIB))
        connection.settimeout(60)
        while count := connection.recv_into(buffer):
            if received // (64 * MIB) != (received + count) // (64 * MIB):
                most = max(most, server.memory())
            received += count
    assert 2**30 < received < 2**30 + 1000
    assert most - before < 32 * MIB


def test_clients_that_do_not_read_take_little_memory(serve: Serve) -> None:
    limits = {"stdout": "2GiB", "time": "60s", "concurrency": 16}
    server = serve(
        guest("/stream", "stream", **limits) + guest("/hello", "hello"), stream=stream(16384), hello=guests.HELLO
    )
    server.get("/hello")
    before = server.memory()
    connections = []
    for _ in range(8):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server.address)
        connection.sendall(get("/stream"))
        connections.append(connection)
    for connection in connections:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    with others_answered(server):
        for _ in range(20):
            for connection in connections:
                connection.recv(1000)
            assert server.memory() - before < 32 * MIB
            time.sleep(0.02)
    for connection in connections:
        connection.close()
    wait_until(lambda: server.memory() - before < 16 * MIB)
    assert server.get("/hello").status_code == 200
