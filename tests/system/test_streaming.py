"""Streaming: a response reaches the client, and standard error the log, while the guest runs."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Serve, Server, running, wait_until
from tests.support import guests
from tests.support.clock import assert_within
from tests.support.config import guest

MIB = 2**20
SECOND = 10**9

TEXT = guests.CONTENT_TYPE


def writes_mebibytes(count: int) -> str:
    """A guest that writes a header block and `count` MiB, and a line to standard error before each MiB."""
    return f"""(module
 (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 18)
 (data (i32.const 1024) {guests.wat_string(TEXT)}) (data (i32.const 512) "mebibyte\\n")
 {guests.WRITE}
 (func (export "_start") (local $left i32)
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(TEXT)}))
  (local.set $left (i32.const {count}))
  (loop $next
   (call $write (i32.const 2) (i32.const 512) (i32.const 9))
   (call $write (i32.const 1) (i32.const 65536) (i32.const {MIB}))
   (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""


LATE = guests.sleeps(SECOND, TEXT + b"first\n", b"last\n")
QUICK = guests.says(TEXT + b"quick\n")
BIG = guests.says(TEXT + b"x" * 300_000)
STATUSES = {204: b"status: 204\n\n", 205: b"status: 205\n\n", 304: b"status: 304\n\n"}
WITH_BODY = {status: head + b"a body that must not be" for status, head in STATUSES.items()}
ERRORS = {
    "two lines": (b"first\nlast", ["first", "last"]),
    "control": (b"\x1b[31mred\r\nfake\rline\n", [r"\x1b[31mred", r"fake\rline"]),
    "direction mark": ("ünï\u202ecode\n".encode(), [r"ünï\u202ecode"]),
    "not UTF-8": (b"\xff\xfe\n", [r"\xff\xfe"]),
    "empty": (b"\n", [""]),
    "long": (b"x" * 10_000 + b"\n", ["x" * 8192, "x" * 1808]),
}
"""Standard error of guests, and its lines in the log."""


def tells(stderr: bytes, more: str = "") -> str:
    """A guest that writes `stderr`, then a response, then runs `more`."""
    return guests.says(TEXT + b"done\n", stderr=stderr, repeat=more)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server for the guests of this file."""
    texts = {"late": LATE, "quick": QUICK, "big": BIG, "gibibyte": writes_mebibytes(1024)}
    texts |= {f"s{status}": guests.says(output) for status, output in WITH_BODY.items()}
    texts |= {f"late{status}": guests.sleeps(SECOND // 20, output) for status, output in WITH_BODY.items()}
    texts["late_trap"] = guests.sleeps(SECOND // 10, TEXT + b"first\n").removesuffix("))") + " unreachable))"
    texts["late_exit"] = guests.exits(7, TEXT + b"x" * 300_000)
    texts["exit"] = guests.exits(7, TEXT + b"whole\n")
    texts |= {f"tells-{number}": tells(stderr) for number, (stderr, _) in enumerate(ERRORS.values())}
    texts["busy"] = tells(b"at work\n", more="(nop)")
    texts["floods"] = tells(b"0123456789abcde\n" * 1000)
    limits = {"gibibyte": {"stdout": "2GiB"}, "busy": {"time": "5s"}, "floods": {"stderr": "1KiB"}}
    directory = tmp_path_factory.mktemp("stream")
    for name, text in texts.items():
        (directory / f"{name}.wat").write_text(text)
    config = "".join(guest(f"/{name}", name, **limits.get(name, {})) for name in texts)
    with running(directory, config, cache=cache) as server:
        yield server


@dataclass(slots=True)
class Wire:
    """A response on the wire."""

    status: int
    fields: dict[str, str]
    body: bytes = field(repr=False)


def exchange(server: Server, path: str, *, method: str = "GET", version: str = "1.1") -> Wire:
    """Sends one request; reads until the server closes the connection."""
    request = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, _, body = server.exchange(request.encode()).partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    return Wire(int(line.split()[1]), dict(text.lower().split(": ", 1) for text in lines), body)


# Time


def test_the_first_bytes_arrive_while_the_guest_runs(stream: Server) -> None:
    begin = time.monotonic()
    with stream.client.stream("GET", f"{stream.url}/late") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first\n"
        assert_within(time.monotonic() - begin, 0.5)
        assert b"".join(pieces) == b"last\n"
        assert time.monotonic() - begin >= 1
    assert response.headers["transfer-encoding"] == "chunked"


def test_a_gibibyte_passes_through_little_memory(stream: Server) -> None:
    assert stream.get("/big").status_code == 200
    memory = worst = stream.memory()
    connection = http.client.HTTPConnection(*stream.address, timeout=60)
    connection.request("GET", "/gibibyte")
    response = connection.getresponse()
    buffer = bytearray(MIB)
    received = looked = 0
    while count := response.readinto(buffer):
        received += count
        if received - looked >= 32 * MIB:
            looked, worst = received, max(worst, stream.memory())
    connection.close()
    assert received == 1024 * MIB
    assert worst - memory < 64 * MIB


def test_a_slow_reader_slows_the_guest_down_until_its_time_is_up(serve: Serve) -> None:
    server = serve(guest("/gibibyte", "gibibyte", time="2s", stdout="2GiB"), gibibyte=writes_mebibytes(1024))
    memory = server.memory()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(10)
        connection.connect(server.address)
        connection.sendall(b"GET /gibibyte HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = bytearray()

        def reads_a_little() -> bool:
            received.extend(connection.recv(4096))
            assert server.memory() < memory + 16 * MIB
            return "limits.time" in server.log

        wait_until(reads_a_little)
        assert server.log.count("mebibyte") < 32
        while piece := connection.recv(65536):
            received.extend(piece)
        assert not received.endswith(b"\r\n0\r\n\r\n")
    server.wait_for_log(r"WARNING .*limits\.time \(2 s\).*; the response was cut off route=/gibibyte id=")


# Framing


def exchange_at_once(server: Server, path: str, **options: str) -> Wire:
    """Repeats a request until the response has a length; on a busy machine a fast guest's output may be streamed."""
    while "content-length" not in (wire := exchange(server, path, **options)).fields:
        pass
    return wire


def test_a_fast_response_is_one_message_with_its_length(stream: Server) -> None:
    wire = exchange_at_once(stream, "/quick")
    assert (wire.status, wire.body, wire.fields["content-length"]) == (200, b"quick\n", "6")
    assert "transfer-encoding" not in wire.fields


@pytest.mark.parametrize(("path", "length"), [("/quick", 6), ("/late", 11), ("/big", 300_000)])
def test_http_1_0_gets_a_length_and_no_chunks(stream: Server, path: str, length: int) -> None:
    wire = exchange(stream, path, version="1.0")
    assert wire.status == 200
    assert (wire.fields["content-length"], len(wire.body)) == (str(length), length)
    assert "transfer-encoding" not in wire.fields


@pytest.mark.parametrize("path", ["/quick", "/late", "/big", "/s204", "/exit"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_head_has_the_fields_and_no_body(stream: Server, path: str, version: str) -> None:
    assert exchange(stream, path, method="HEAD", version=version).body == b""
    if path == "/quick":
        wire = exchange_at_once(stream, path, method="HEAD", version=version)
        assert (wire.status, wire.fields["content-length"]) == (200, "6")


@pytest.mark.parametrize("name", ["s", "late"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_without_body_has_none(stream: Server, name: str, status: int) -> None:
    wire = exchange(stream, f"/{name}{status}")
    assert (wire.status, wire.body) == (status, b"")
    assert "transfer-encoding" not in wire.fields
    assert wire.fields.get("content-length") == ("0" if status == 205 else None)


# Ends


def test_a_guest_that_fails_on_the_way_leaves_a_response_without_end(stream: Server) -> None:
    wire = exchange(stream, "/late_trap")
    assert wire.status == 200
    assert wire.body == b"6\r\nfirst\n\r\n"
    stream.wait_for_log(r"WARNING trap: .*unreachable.*; the response was cut off route=/late_trap id=")


def test_a_guest_that_fails_before_its_response_is_an_error(stream: Server) -> None:
    assert exchange(stream, "/late_trap", version="1.0").status == 500
    assert exchange(stream, "/late_trap", method="HEAD").status == 500


@pytest.mark.parametrize(("path", "length"), [("/exit", 6), ("/late_exit", 300_000)])
def test_an_exit_code_after_a_whole_response_is_a_warning(stream: Server, path: str, length: int) -> None:
    response = stream.get(path)
    assert (response.status_code, len(response.content)) == (200, length)
    request_id = response.headers["x-request-id"]
    stream.wait_for_log(rf"WARNING the guest exited with code 7 route={path} id={request_id}\n")


# Standard error


@pytest.mark.parametrize("name", ERRORS)
def test_standard_error_is_logged_by_line_and_escaped(stream: Server, name: str) -> None:
    route = f"/tells-{list(ERRORS).index(name)}"
    request_id = stream.get(route).headers["x-request-id"]
    stream.wait_for_log(f"GET {route} ")
    found = re.findall(rf"INFO    guest: (.*) route={route} id={request_id}\n", stream.log)
    assert found == ERRORS[name][1]


def test_standard_error_is_logged_while_the_guest_runs(stream: Server) -> None:
    with stream.connect() as connection:
        connection.sendall(b"GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream.wait_for_log(r"guest: at work route=/busy id=\w+\n", timeout=2)
        assert "GET /busy" not in stream.log


def test_standard_error_over_its_limit_is_dropped_and_counted(stream: Server) -> None:
    assert stream.get("/floods").text == "done\n"
    stream.wait_for_log(
        r"WARNING .*15936 more bytes of standard error were dropped \(limits\.stderr\) route=/floods id=\w+\n"
    )
    assert stream.log.count("0123456789abcde") == 4, "each line counts for 256 bytes more than it has"
