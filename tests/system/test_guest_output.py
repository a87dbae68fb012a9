"""What guests print, as clients and the log receive it: in one piece or many, whole, and without a cost to others."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve, Server, running, wait_until
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
GATHERED: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "head and body": ((HEAD + b"hello", b" world\n"), b""),
    "three": ((b"one ", b"two ", b"three\n"), HEAD),
    "first is empty": ((b"", b"after an empty one\n"), HEAD),
    "all but one": ((b"", b"", b"", b"x"), HEAD),
    "crosses 64 KiB": ((A, B), HEAD),
    "four": ((A, B, A, B), HEAD),
    "large": ((HEAD, A + B), b""),
    "split head": ((HEAD[:10], HEAD[10:], b"head in two pieces"), b""),
    "1000": (tuple(b"%d," % number for number in range(1000)), HEAD),
}
"""The pieces of one write to standard output, and what is printed before."""
ERRORS_GATHERED = {
    "three": (b"one ", b"two ", b"three\n"),
    "first is empty": (b"", b"one ", b"two three\n"),
    "second is empty": (b"one two three", b"", b"\n"),
}
"""The pieces of one write to standard error."""
CODES = (1, 125, 126, 127, 134, 139, 254, 255, -1, 256)


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


CLOSING = {
    "sleeps": f"{CLOSE} {TWO_SECONDS} {DONE}",
    "computes": f"{CLOSE} {guests.burns(2000)} {DONE}",
    "renumbers": f"{RENUMBER} {TWO_SECONDS} {DONE_BY_1}",
    "writes on": f"{CLOSE} {CLOSE} {WRITES_ON} {TWO_SECONDS} {DONE}",
    "fails": f"{CLOSE} (call $exit (i32.const 3))",
}
"""What guests do after a response: they close their output, and go on."""
SIZES = (1, 16, 65536)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with a guest for each row of the tables above, at /TABLE-NUMBER."""
    texts: dict[str, str] = {}
    for number, (pieces, first) in enumerate(GATHERED.values()):
        texts[f"gathers-{number}"] = gathers(*pieces, first=first)
    for number, pieces in enumerate(ERRORS_GATHERED.values()):
        texts[f"errors-{number}"] = gathers(*pieces, descriptor=2)
    texts |= {f"exits{code}": guests.exits(code, HEAD + b"whole\n") for code in CODES}
    texts |= {f"closes-{number}": closes(text) for number, text in enumerate(CLOSING.values())}
    for size in SIZES:
        repeat = f"(call $write (i32.const 1) (i32.const 1024) (i32.const {size}))"
        texts[f"prints-{size}"] = guests.says(HEAD, repeat=repeat)
    directory = tmp_path_factory.mktemp("output")
    for name, wat in texts.items():
        (directory / f"{name}.wat").write_text(wat)
    limits = {name: {"time": "20s"} for name in texts if name.startswith(("closes", "prints"))}
    limits |= {f"prints-{size}": {"time": "20s", "stdout": "100KiB"} for size in SIZES}
    config = "".join(guest(f"/{name}", name, **limits.get(name, {})) for name in texts)
    with running(directory, config, cache=cache) as server:
        yield server


@pytest.mark.parametrize("name", GATHERED)
def test_all_pieces_of_a_gathered_write(server: Server, name: str) -> None:
    pieces, first = GATHERED[name]
    for _ in range(12):  # on a thread, then on the event loop's
        response = server.get(f"/gathers-{list(GATHERED).index(name)}")
        assert (response.status_code, HEAD + response.content) == (200, first + b"".join(pieces))


@pytest.mark.parametrize("name", ERRORS_GATHERED)
def test_all_pieces_of_standard_error(server: Server, name: str) -> None:
    path = f"/errors-{list(ERRORS_GATHERED).index(name)}"
    assert server.get(path).status_code == 200
    server.wait_for_log(rf"guest: one two three route={path} ")


@pytest.mark.parametrize("code", CODES)
def test_a_response_before_a_failure_is_delivered(server: Server, code: int) -> None:
    for _ in range(12):
        response = server.get(f"/exits{code}")
        assert (response.status_code, response.text) == (200, "whole\n")
    seen = code & 255 or 255
    pattern = rf"(?m)^\S+ WARNING .*the guest exited with code {seen}\b.* route=/exits{code} "
    wait_until(lambda: len(re.findall(pattern, server.log)) == 12, message=lambda: server.log)


@pytest.mark.parametrize("name", ["sleeps", "computes", "renumbers", "writes on"])
def test_a_closed_output_ends_the_response_and_not_the_guest(server: Server, name: str) -> None:
    path = f"/closes-{list(CLOSING).index(name)}"
    begin = time.monotonic()
    response = server.get(path)
    took = time.monotonic() - begin
    assert (response.status_code, response.text) == (200, "whole\n")
    assert f"guest: done route={path} " not in server.log
    server.wait_for_log(rf"guest: done route={path} ")
    assert_within(took, 1)
    assert warnings_of(server, path) == ""


def warnings_of(server: Server, path: str) -> str:
    """The warnings about the guests of a route."""
    return "\n".join(line for line in server.log.splitlines() if " WARNING " in line and f"route={path} " in line)


def test_a_failure_after_a_closed_output(server: Server) -> None:
    path = f"/closes-{list(CLOSING).index('fails')}"
    for _ in range(12):
        response = server.get(path)
        assert (response.status_code, response.text) == (200, "whole\n")
    wait_until(
        lambda: warnings_of(server, path).count("the guest exited with code 3") == 12, message=lambda: server.log
    )


@pytest.mark.parametrize("size", SIZES)
def test_more_than_may_be_printed(server: Server, size: int) -> None:
    answer = server.exchange(f"GET /prints-{size} HTTP/1.0\r\n\r\n".encode(), timeout=60)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert len(body) <= 100 * 1024
    assert b" 502 " in head or len(body) == 100 * 1024 - len(HEAD)
    server.wait_for_log(rf"printed more than limits.stdout \(102400 bytes\) route=/prints-{size} ")


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
