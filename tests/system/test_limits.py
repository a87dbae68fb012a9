"""Every limit from both sides: a value within it passes, a value over it is refused as the model describes."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Server, running
from tests.support import guests
from tests.support.clock import assert_within
from tests.support.config import guest, module
from tests.support.farm import Target
from tests.support.http_client import connected, message
from tests.support.temporary_files import FILLS, LEAVES
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.settings import Limits
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load

MS = 10**6
"""Nanoseconds."""
PAGE = 65536

WELL = guests.CONTENT_TYPE + b"well\n"


def module_with(fields: str) -> str:
    """A guest with these definitions."""
    return guests.says(WELL, imports="").replace('(func (export "_start")', f'{fields} (func (export "_start")', 1)


def grows(instructions: str, fields: str = "") -> str:
    """A guest that prints "well" unless `instructions` result in -1; then the guest traps."""
    check = f"(if (i32.eq {instructions} (i32.const -1)) (then unreachable))"
    return module_with(fields).replace('(func (export "_start")', f'(func (export "_start") {check}', 1)


def calls(url: str, *, count: int = 1, header: int = 0, body: int = 0) -> str:
    """A guest that calls a URL `count` times, reads each response to its end, and prints the last error.

    A call has a header line and a body of these sizes.
    """
    ends = "(br_if $end (local.get $error))"
    return f"""(module {guests.FD_WRITE}
     (import "wasi_experimental_http" "req"
      (func $req (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
     (import "wasi_experimental_http" "body_read" (func $body_read (param i32 i32 i32 i32) (result i32)))
     (import "wasi_experimental_http" "close" (func $close (param i32) (result i32)))
     (memory (export "memory") 4)
     (data (i32.const 1024) {guests.wat_string(guests.CONTENT_TYPE + b"00")})
     (data (i32.const 2048) "POST") (data (i32.const 4096) {guests.wat_string(url.encode())})
     (data (i32.const 16384) {guests.wat_string(b"x:" + b"y" * (header - 2) if header else b"")})
     {guests.WRITE}
     (func (export "_start") (local $error i32) (local $left i32)
      (local.set $left (i32.const {count}))
      (block $end
       (loop $next
        (local.set $error (call $req (i32.const 4096) (i32.const {len(url)}) (i32.const 2048) (i32.const 4)
         (i32.const 16384) (i32.const {header}) (i32.const 65536) (i32.const {body}) (i32.const 8) (i32.const 16)))
        {ends}
        (loop $more
         (local.set $error
          (call $body_read (i32.load (i32.const 16)) (i32.const 131072) (i32.const 4096) (i32.const 24)))
         {ends}
         (br_if $more (i32.load (i32.const 24))))
        (drop (call $close (i32.load (i32.const 16))))
        (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (i32.store8 (i32.const {1024 + len(guests.CONTENT_TYPE)})
       (i32.add (i32.const 48) (i32.div_u (local.get $error) (i32.const 10))))
      (i32.store8 (i32.const {1025 + len(guests.CONTENT_TYPE)})
       (i32.add (i32.const 48) (i32.rem_u (local.get $error) (i32.const 10))))
      (call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE) + 2}))))"""


WAIT = guests.sleeps(500 * MS, b"", WELL)
TABLES = "".join("(table 1 funcref)" for _ in range(2))
MEMORIES = "(memory 1)"

GUESTS = {
    "naps": guests.sleeps(50 * MS, b"", WELL),
    "sleeps": guests.SLEEP,
    "grows": grows("(memory.grow (i32.const 6))"),
    "grows_too_much": grows("(memory.grow (i32.const 7))"),
    "two_memories": module_with(MEMORIES),
    "two_tables": module_with(TABLES),
    "grows_table": grows("(table.grow (ref.null func) (i32.const 9))", "(table 1 funcref)"),
    "grows_table_too_much": grows("(table.grow (ref.null func) (i32.const 10))", "(table 1 funcref)"),
    "well": guests.says(WELL),
    "header_within": guests.says(b"content-type: text/plain\nx: " + b"y" * 480 + b"\n\nwell\n"),
    "header_beyond": guests.says(b"content-type: text/plain\nx: " + b"y" * 490 + b"\n\nwell\n"),
    "prints": guests.says(guests.CONTENT_TYPE + b"x" * (4096 - len(guests.CONTENT_TYPE))),
    "prints_too_much": guests.says(guests.CONTENT_TYPE + b"x" * (4097 - len(guests.CONTENT_TYPE))),
    "complains": guests.says(WELL, stderr=b"x" * 100),
    "complains_too_much": guests.says(WELL, stderr=b"x" * 101),
    "waits": WAIT,
}

SITE: dict[str, tuple[str, dict[str, object]]] = {
    "time/within": ("naps", {"time": "2s"}),
    "time/beyond": ("sleeps", {"time": "200ms"}),
    "memory/within": ("grows", {"memory": 8 * PAGE}),
    "memory/beyond": ("grows_too_much", {"memory": 8 * PAGE}),
    "memories": ("two_memories", {"memories": 2}),
    "tables": ("two_tables", {"tables": 2}),
    "table_elements/within": ("grows_table", {"table_elements": 10}),
    "table_elements/beyond": ("grows_table_too_much", {"table_elements": 10}),
    "body": ("well", {"body": "1KiB"}),
    "body_time": ("well", {"body_time": "300ms"}),
    "header_block/within": ("header_within", {"header_block": 512}),
    "header_block/beyond": ("header_beyond", {"header_block": 512}),
    "stdout/within": ("prints", {"stdout": "4KiB"}),
    "stdout/beyond": ("prints_too_much", {"stdout": "4KiB"}),
    "stderr/within": ("complains", {"stderr": 100}),
    "stderr/beyond": ("complains_too_much", {"stderr": 100}),
    "concurrency": ("waits", {"concurrency": 2, "queue": 0}),
    "queue": ("waits", {"concurrency": 1, "queue": 2, "time": "5s"}),
    "queue_time/within": ("waits", {"concurrency": 1, "queue_time": "5s"}),
    "queue_time/beyond": ("waits", {"concurrency": 1, "queue_time": "100ms"}),
}


def outbound(target: str, silent: str) -> dict[str, tuple[str, dict[str, object]]]:
    """Like SITE, with the guests' texts: `target` is a server, and `silent` accepts connections but sends nothing."""
    return {
        "http_time/within": (calls(f"{target}/slow?seconds=0.1"), {"http_time": "5s"}),
        "http_time/beyond": (calls(f"{target}/slow?seconds=10"), {"http_time": "200ms"}),
        "http_time/beyond-dripping": (calls(f"{target}/drip"), {"http_time": "200ms"}),
        "http_time/beyond-redirected": (
            calls(f"{target}/redirect?status=307&to={target}/slow?seconds=10"),
            {"http_time": "200ms"},
        ),
        "http_connect_time/within": (calls(f"{target}/slow?seconds=0.3"), {"http_connect_time": "200ms"}),
        "http_connect_time/beyond": (calls(silent), {"http_connect_time": "200ms"}),
        "http_request/within": (calls(f"{target}/hello", body=1024), {"http_request": 1024}),
        "http_request/beyond": (calls(f"{target}/hello", body=1025), {"http_request": 1024}),
        "http_response/within": (calls(f"{target}/big?size=100000"), {"http_response": 100_000}),
        "http_response/beyond": (calls(f"{target}/big?size=100001"), {"http_response": 100_000}),
        "http_response/within-chunked": (calls(f"{target}/big?size=100000&chunked"), {"http_response": 100_000}),
        "http_response/beyond-chunked": (calls(f"{target}/big?size=100001&chunked"), {"http_response": 100_000}),
        "http_response/beyond-endless": (calls(f"{target}/drip"), {"http_response": 10}),
        "http_headers/within": (calls(f"{target}/hello", header=256), {"http_headers": 256}),
        "http_headers/beyond": (calls(f"{target}/hello", header=257), {"http_headers": 256}),
        "http_headers/within-response": (calls(f"{target}/headers?size={256 - 29}"), {"http_headers": 256}),
        "http_headers/beyond-response": (calls(f"{target}/headers?size={257 - 29}"), {"http_headers": 256}),
        "http_calls/within": (calls(f"{target}/hello", count=3), {"http_calls": 3}),
        "http_calls/beyond": (calls(f"{target}/hello", count=4), {"http_calls": 3}),
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with a route for each side of each limit."""
    directory = tmp_path_factory.mktemp("limits")
    for name, text in GUESTS.items():
        (directory / f"{name}.wat").write_text(text)
    config = "".join(guest(f"/{route}", name, **limits) for route, (name, limits) in SITE.items())
    with Target() as target, socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"https://127.0.0.1:{listener.getsockname()[1]}"
        for route, (text, limits) in outbound(target.url, silent).items():
            name = route.replace("/", "_")
            (directory / f"{name}.wat").write_text(text)
            config += module(f"/{route}", f"{name}.wat", limits=limits, allowed_hosts=[target.url, silent])
        with running(directory, config, cache=cache) as server:
            yield server


def statuses(site: Server, route: str, count: int) -> list[int]:
    """The statuses of requests that are sent at the same time, in order."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(site.address, timeout=30)) for _ in range(count)]
        for client in clients:
            client.send(message(f"GET /{route} HTTP/1.1", "Host: h"))
        return sorted(client.answer().status for client in clients)


def status(site: Server, route: str) -> int:
    """The status of one request."""
    return site.get(f"/{route}").status_code


def error(site: Server, route: str) -> int:
    """The last error of a guest with outbound calls."""
    response = site.get(f"/{route}")
    assert response.status_code == 200
    return int(response.text)


def does_not_start(tmp_path: Path, guest: str, **limits: int) -> str:
    """The output of a start that refuses a guest under these limits."""
    (tmp_path / "guest.wat").write_text(GUESTS[guest])
    tables = {
        "module": [{"route": "/", "module": "guest.wat", "limits": limits}],
        "cache": {"enabled": False},
        "server": {"concurrency": 1},
    }
    with pytest.raises(StartupError) as error:
        load(config_from_tables(tmp_path / "modules.toml", tables))
    return str(error.value)


def test_time(site: Server) -> None:
    assert status(site, "time/within") == 200
    assert status(site, "time/beyond") == 504
    site.wait_for_log(r"504: the guest ran into limits\.time \(0\.2 s\) route=/time/beyond")


def test_memory(site: Server, tmp_path: Path) -> None:
    assert status(site, "memory/within") == 200
    assert status(site, "memory/beyond") == 500
    assert "memory minimum size" in does_not_start(tmp_path, "well", memory=PAGE)


def test_memories(site: Server, tmp_path: Path) -> None:
    assert status(site, "memories") == 200
    assert re.search(r"memor\w+ count", does_not_start(tmp_path, "two_memories", memories=1))


def test_tables(site: Server, tmp_path: Path) -> None:
    assert status(site, "tables") == 200
    assert re.search(r"table\w* count", does_not_start(tmp_path, "two_tables", tables=1))


def test_table_elements(site: Server) -> None:
    assert status(site, "table_elements/within") == 200
    assert status(site, "table_elements/beyond") == 500


OPENS = (
    '(import "wasi_snapshot_preview1" "path_open"'
    " (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
)
OPENED_THRICE = (
    """(if (call $open (i32.const 3) (i32.const 0) (i32.const 9000) (i32.const 1) (i32.const 0)
 (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 9008)) (then unreachable))"""
    * 3
)


def test_files(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").touch()
    wat = guests.says(WELL, imports=OPENS).replace(
        '(func (export "_start")', f'(data (i32.const 9000) "f") (func (export "_start") {OPENED_THRICE}', 1
    )
    (tmp_path / "opens.wat").write_text(wat)
    volumes = {"/": {"path": "data", "read_only": True}}
    routes = [module(f"/{files}", "opens.wat", limits={"files": files}, volumes=volumes) for files in (2, 3)]
    with running(tmp_path, "".join(routes), cache=cache) as server:
        assert [server.get(f"/{files}").status_code for files in (2, 3)] == [500, 200]


def test_temporary(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/index.php").touch()
    guests_and_limits = {"leaves": (LEAVES, "8KiB"), "fills": (FILLS, "1MiB")}
    config = ""
    for name, (text, temporary) in guests_and_limits.items():
        (tmp_path / f"{name}.wat").write_text(text)
        config += module(f"/{name}/...", f"{name}.wat", document_root="root", limits={"temporary": temporary})
    with running(tmp_path, config, cache=cache) as server:
        assert [server.get(f"/{name}/").status_code for name in guests_and_limits] == [200, 502]
        server.wait_for_log(r"502: .*limits\.temporary \(1048576 bytes\) .*route=/fills/")


def test_body(site: Server) -> None:
    assert site.post("/body", b"x" * 1024).status_code == 200
    assert site.post("/body", b"x" * 1025).status_code == 413


def test_body_time(site: Server) -> None:
    request = b"POST /body_time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    assert site.exchange(request + b"xy").startswith(b"HTTP/1.1 200 ")
    assert site.exchange(request + b"x").startswith(b"HTTP/1.1 408 ")


def test_header_block(site: Server) -> None:
    assert status(site, "header_block/within") == 200
    assert status(site, "header_block/beyond") == 502


def test_stdout(site: Server) -> None:
    assert status(site, "stdout/within") == 200
    answer = site.exchange(b"GET /stdout/beyond HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ") or not answer.endswith(b"\r\n0\r\n\r\n")
    site.wait_for_log(r"WARNING .*limits\.stdout \(4096 bytes\).* route=/stdout/beyond")


def test_stderr(site: Server) -> None:
    assert status(site, "stderr/within") == 200
    assert status(site, "stderr/beyond") == 200
    site.wait_for_log(r"WARNING .*1 more byte of standard error was dropped \(limits\.stderr\) route=/stderr/beyond")
    assert re.findall(r"guest: (x+) route=/stderr/(?:within|beyond)", site.log) == ["x" * 100, "x" * 100]
    assert not re.search("dropped.* route=/stderr/within", site.log)


def test_concurrency(site: Server) -> None:
    assert statuses(site, "concurrency", 2) == [200, 200]
    assert statuses(site, "concurrency", 4) == [200, 200, 503, 503]


def test_queue(site: Server) -> None:
    assert statuses(site, "queue", 3) == [200, 200, 200]
    assert statuses(site, "queue", 5) == [200, 200, 200, 503, 503]


def test_queue_time(site: Server) -> None:
    assert statuses(site, "queue_time/within", 2) == [200, 200]
    assert statuses(site, "queue_time/beyond", 2) == [200, 503]


def test_http_time(site: Server) -> None:
    assert error(site, "http_time/within") == 0
    begin = time.monotonic()
    assert error(site, "http_time/beyond") == 11
    assert error(site, "http_time/beyond-dripping") == 12
    assert error(site, "http_time/beyond-redirected") == 11
    took = time.monotonic() - begin
    assert took >= 0.6
    assert_within(took, 3)
    for side in ("", "-dripping", "-redirected"):
        reason = r"not done within limits\.http_time \(0\.2 s\)"
        site.wait_for_log(rf'outcome=timeout .*route=/http_time/beyond{side} .*reason="{reason}"')


def test_http_connect_time(site: Server) -> None:
    assert error(site, "http_connect_time/within") == 0
    assert error(site, "http_connect_time/beyond") == 11
    reason = r"no connection within limits\.http_connect_time \(0\.2 s\)"
    site.wait_for_log(rf'outcome=timeout .*route=/http_connect_time/beyond .*reason="{reason}"')


def test_http_request(site: Server) -> None:
    assert error(site, "http_request/within") == 0
    assert error(site, "http_request/beyond") == 11
    site.wait_for_log(r"route=/http_request/beyond .*1025 bytes, limits\.http_request are 1024")


def test_http_response(site: Server) -> None:
    assert error(site, "http_response/within") == 0
    assert error(site, "http_response/within-chunked") == 0
    assert error(site, "http_response/beyond") == 11
    assert error(site, "http_response/beyond-chunked") == 12
    assert error(site, "http_response/beyond-endless") == 12
    for side in ("", "-chunked", "-endless"):
        site.wait_for_log(rf"outcome=failed .*route=/http_response/beyond{side} .*limits\.http_response")


def test_http_headers(site: Server) -> None:
    for side in ("", "-response"):
        assert error(site, f"http_headers/within{side}") == 0
        assert error(site, f"http_headers/beyond{side}") == 11
        site.wait_for_log(rf"route=/http_headers/beyond{side} .*limits\.http_headers")


def test_http_calls(site: Server) -> None:
    assert error(site, "http_calls/within") == 0
    assert error(site, "http_calls/beyond") == 13
    site.wait_for_log(r"route=/http_calls/beyond .*more than limits\.http_calls \(3\) in one request")


@pytest.mark.parametrize("name", Limits.model_fields)
def test_every_limit_is_shown(name: str) -> None:
    assert f"test_{name}" in globals()
