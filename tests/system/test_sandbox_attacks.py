"""Guests that mean harm: no host call, and no number of them, delays other routes, keeps a place, or takes memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Server, running
from tests.support import guests
from tests.support.attacks import get, send, together
from tests.support.clock import assert_within
from tests.support.config import guest, module
from tests.support.neighbours import others_answered
from tests.support.wasi import MODULE, SIGNATURES

TIME = 2.0
"""Seconds of `limits.time`."""
PAGES = 1000
MEMORY = PAGES * 65536
MOST = 2**24 - 1
QUICK = 30
"""Requests after which a module has long been allowed to run on the event loop's thread."""
CALLS = 200
"""Calls in a straight line, without an epoch check between them."""
LARGE = MEMORY - 65536


def wasi(name: str) -> str:
    """The import of a function of WASI."""
    kinds = " ".join("i64" if kind == "I" else "i32" for kind in SIGNATURES[name])
    return f'(import "{MODULE}" "{name}" (func ${name} (param {kinds}) (result i32)))'


def call(name: str, *arguments: int) -> str:
    """A call of a function of WASI."""
    values = " ".join(
        f"({'i64' if kind == 'I' else 'i32'}.const {value})"
        for kind, value in zip(SIGNATURES[name], arguments, strict=True)
    )
    return f"(drop (call ${name} {values}))"


def in_a_row(name: str, *arguments: int, before: str = "") -> str:
    """A guest that prints hello; with an argument it first calls a function many times in a straight line."""
    known = ("fd_write", "args_sizes_get")
    fields = "" if name in known else wasi(name)
    return guests.if_argument(before + call(name, *arguments) * CALLS, pages=PAGES, fields=fields)


def repeats(instructions: str, count: int = CALLS) -> str:
    """A guest that prints hello; with an argument it first runs instructions many times in a straight line."""
    return guests.if_argument(instructions * count, pages=PAGES)


WHOLE = f"(i32.store (i32.const 65536) (i32.const 65536)) (i32.store (i32.const 65540) (i32.const {LARGE}))"
"""An iovec of almost the whole memory, at 65536."""
MANY_WHOLE = f"""(i32.store (i32.const 32) (i32.const 65536)) (loop $fill
 (i32.store (i32.load (i32.const 32)) (i32.const 131072))
 (i32.store offset=4 (i32.load (i32.const 32)) (i32.const {LARGE - 65536}))
 (i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 8)))
 (br_if $fill (i32.lt_u (i32.load (i32.const 32)) (i32.const 73728))))"""
"""1024 iovecs of almost the whole memory, at 65536."""

LINES = f"(memory.fill (i32.const 131072) (i32.const 10) (i32.const {LARGE - 65536}))"
"""Line feeds from 131072 on."""

ATTACKS = {
    "fd-write-empty-pieces": in_a_row("fd_write", 1, 65536, MOST, 8),
    "fd-write-1024-empty-pieces": in_a_row("fd_write", 1, 1024 * 1024, 1024, 8),
    "fd-write-errors-empty-pieces": in_a_row("fd_write", 2, 65536, MOST, 8),
    "fd-write-whole-memory": in_a_row("fd_write", 2, 65536, 1, 8, before=WHOLE),
    "fd-write-whole-memory-1024-times": in_a_row("fd_write", 2, 65536, 1024, 8, before=MANY_WHOLE),
    "fd-write-lines-of-errors": in_a_row("fd_write", 2, 65536, 1024, 8, before=MANY_WHOLE + LINES),
    "fd-read-empty-pieces": in_a_row("fd_read", 0, 65536, MOST, 8),
    "fd-read-1024-empty-pieces": in_a_row("fd_read", 0, 1024 * 1024, 1024, 8),
    "fd-read-whole-memory-1024-times": in_a_row("fd_read", 0, 65536, 1024, 8, before=MANY_WHOLE),
    "fd-pwrite": in_a_row("fd_pwrite", 1, 65536, MOST, 0, 8),
    "fd-pwrite-file": in_a_row("fd_pwrite", 3, 65536, MOST, 0, 8),
    "fd-pread": in_a_row("fd_pread", 0, 65536, MOST, 0, 8),
    "fd-pread-file": in_a_row("fd_pread", 3, 65536, MOST, 0, 8),
    "fd-prestat-dir-name": in_a_row("fd_prestat_dir_name", 3, 65536, LARGE),
    "fd-readdir": in_a_row("fd_readdir", 3, 65536, LARGE, 0, 8),
    "random-get": in_a_row("random_get", 65536, LARGE),
    "poll-oneoff-too-many": in_a_row("poll_oneoff", 65536, 1024 * 1024, 300_000, 8),
    "poll-oneoff-128": in_a_row("poll_oneoff", 65536, 1024 * 1024, 128, 8),
    "environ-get": in_a_row("environ_get", 65536, 1024 * 1024),
    "environ-sizes-get": in_a_row("environ_sizes_get", 16, 20),
    "args-get": in_a_row("args_get", 65536, 1024 * 1024),
    "path-open": in_a_row("path_open", 3, 0, 65536, LARGE, 0, 2, 2, 0, 8),
    "path-open-create": in_a_row("path_open", 3, 0, 65536, LARGE, 1, 64, 64, 0, 8),
    "path-rename": in_a_row("path_rename", 3, 65536, LARGE, 3, 65536, LARGE),
    "path-symlink": in_a_row("path_symlink", 65536, LARGE, 3, 65536, LARGE),
    "path-readlink": in_a_row("path_readlink", 3, 65536, 4000, 65536, LARGE, 8),
    "path-filestat-get": in_a_row("path_filestat_get", 3, 0, 65536, LARGE, 200),
    "sock-send": in_a_row("sock_send", 1, 65536, MOST, 0, 8),
    "sock-recv": in_a_row("sock_recv", 0, 65536, MOST, 0, 8, 12),
    "sched-yield": guests.if_argument("(loop $l (drop (call $sched_yield)) (br $l))", fields=wasi("sched_yield")),
    "memory-fill": repeats(f"(memory.fill (i32.const 65536) (i32.const 7) (i32.const {LARGE}))"),
    "memory-copy": repeats(f"(memory.copy (i32.const 65536) (i32.const 65537) (i32.const {LARGE - 1}))"),
    "memory-grow-and-fill": repeats(
        "(drop (memory.grow (i32.const 100)))"
        "(memory.fill (i32.const 65536) (i32.const 7) (i32.sub (i32.mul (memory.size) (i32.const 65536))"
        " (i32.const 65536)))"
    ),
}
WITH_FILES = [name for name in ATTACKS if name.startswith(("fd-", "path-", "random", "environ", "memory"))]
"""Attacks of guests with a volume, whose functions on files are wasmtime's."""
LIMITS = {"time": f"{TIME:g}s", "memory": "128MiB"}
ENVIRONMENT = {f"NAME_{number}": "value" * 10 for number in range(300)}


def forever(instructions: str, *, fields: str = "") -> str:
    """A guest that prints hello; with an argument it first repeats instructions without end."""
    body = f"(loop $forever {instructions} (br $forever))"
    return guests.if_argument(body, pages=PAGES, fields=fields)


FOREVER = {
    "fd-write-empty-pieces": forever(call("fd_write", 1, 65536, 1024, 8) * CALLS),
    "poll-oneoff-128": forever(call("poll_oneoff", 65536, 131072, 128, 8) * CALLS, fields=wasi("poll_oneoff")),
    "random-get": forever(call("random_get", 65536, LARGE) * CALLS, fields=wasi("random_get")),
    "memory-fill": forever(f"(memory.fill (i32.const 65536) (i32.const 7) (i32.const {LARGE}))" * CALLS),
    "fd-readdir": forever(call("fd_readdir", 3, 65536, LARGE, 0, 8) * CALLS, fields=wasi("fd_readdir")),
}


ENTRIES = 20_000
"""Entries of a huge directory."""
LISTED = {
    "whole": call("fd_readdir", 3, 65536, LARGE, 0, 8),
    "the end and the beginning": call("fd_readdir", 3, 65536, 100, ENTRIES, 8)
    + call("fd_readdir", 3, 65536, 100, 0, 8),
    "beyond the end": call("fd_readdir", 3, 65536, 100, 2**64 - 1, 8),
}
"""Calls that read a whole directory of ENTRIES."""


def small(name: str, descriptor: int, size: int) -> str:
    """A guest that begins a response and then reads or writes pieces of this size without end."""
    begins = f"(call $write (i32.const 1) (i32.const 512) (i32.const {len(guests.CONTENT_TYPE)}))"
    iovec = f"(i32.store (i32.const 256) (i32.const 4096)) (i32.store (i32.const 260) (i32.const {size}))"
    body = f"{begins} {iovec} (loop $forever {call(name, descriptor, 256, 1, 8)} (br $forever))"
    return guests.if_argument(body, fields="" if name == "fd_write" else wasi(name))


SMALL = {
    "16 bytes": small("fd_write", 1, 16),
    "1 byte": small("fd_write", 1, 1),
    "no byte": small("fd_write", 1, 0),
    "16 bytes of errors": small("fd_write", 2, 16),
    "16 bytes of input": small("fd_read", 0, 16),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """A server with all attacks: ATTACKS at /NAME, with a volume at /files/NAME; FOREVER and SMALL at /TABLE/NUMBER."""
    directory = tmp_path_factory.mktemp("attacked")
    (directory / "data").mkdir()
    for number in range(2000):
        (directory / f"data/file-{number:060}").touch()
    (directory / "hello.wat").write_text(guests.HELLO)
    config = guest("/hello", "hello")
    for name, text in ATTACKS.items():
        (directory / f"{name}.wat").write_text(text)
        config += module(f"/{name}", f"{name}.wat", limits=LIMITS, environment=ENVIRONMENT)
    for name in WITH_FILES:
        volumes = {"/": "data"}
        config += module(f"/files/{name}", f"{name}.wat", limits=LIMITS, environment=ENVIRONMENT, volumes=volumes)
    forever = {"time": "1s", "memory": "128MiB", "concurrency": 2}
    small = {"time": "3s", "stdout": "1GiB", "concurrency": 32}
    for table, texts, limits in (("forever", FOREVER, forever), ("small", SMALL, small)):
        for number, text in enumerate(texts.values()):
            (directory / f"{table}-{number}.wat").write_text(text)
            config += guest(f"/{table}/{number}", f"{table}-{number}", **limits)
    with running(directory, config, cache=cache) as server:
        yield server


@pytest.mark.parametrize("path", [*ATTACKS, *(f"files/{name}" for name in WITH_FILES)])
def test_no_call_delays_other_routes(attacked: Server, path: str) -> None:
    assert [attacked.get(f"/{path}").status_code for _ in range(QUICK)] == [200] * QUICK
    begin = time.monotonic()
    with others_answered(attacked), suppress(httpx.RemoteProtocolError):  # the time is over within the response
        assert attacked.get(f"/{path}?go").status_code in (200, 504)
    assert_within(time.monotonic() - begin, TIME + 1)
    assert attacked.get(f"/{path}").status_code == 200


STOPPED = ["fd-write-empty-pieces", "random-get", "memory-fill", "fd-write-whole-memory-1024-times", "sched-yield"]


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP], ids=["stop", "reload"])
def test_no_call_delays_a_stop_or_a_reload(serve: Serve, name: str, end: signal.Signals) -> None:
    limits = {"time": "60s", "memory": "128MiB"}
    server = serve('[server]\nshutdown_grace = "100ms"\n' + guest("/attack", "attack", **limits), attack=ATTACKS[name])
    assert [server.get("/attack").status_code for _ in range(QUICK)] == [200] * QUICK
    with send(server, get("/attack?go")):
        begin = time.monotonic()
        server.process.send_signal(end)
        if end == signal.SIGHUP:
            server.wait_for_log("reloaded: 1 route")
        else:
            assert server.process.wait(30) == 0
        assert_within(time.monotonic() - begin, 3)


@pytest.mark.parametrize("name", FOREVER)
def test_a_place_is_free_again_when_its_time_is_over(attacked: Server, name: str) -> None:
    path = f"/forever/{list(FOREVER).index(name)}"
    assert [attacked.get(path).status_code for _ in range(QUICK)] == [200] * QUICK
    begin = time.monotonic()
    answers = together(
        2, lambda _: attacked.exchange(get(f"{path}?go").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    )
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 504"] * 2
    assert attacked.get(path).status_code == 200
    assert_within(time.monotonic() - begin, 2)


@pytest.mark.parametrize("name", LISTED)
def test_a_huge_directory_takes_no_time_beyond_the_limit_and_little_memory(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    (tmp_path / "huge").mkdir()
    for number in range(ENTRIES):
        os.close(os.open(tmp_path / f"huge/{number:0200}", os.O_CREAT | os.O_WRONLY))
    limits = {"time": "1s", "memory": "128MiB", "concurrency": 4}
    reads = forever(LISTED[name] * 20, fields=wasi("fd_readdir"))
    server = serve(
        module("/attack", "attack.wat", limits=limits, volumes={"/": "huge"}) + guest("/hello", "hello"),
        attack=reads,
        hello=guests.HELLO,
    )
    assert server.get("/attack").status_code == 200
    before = server.memory()
    begin = time.monotonic()
    with others_answered(server):
        answers = together(4, lambda _: httpx.get(f"{server.url}/attack?go", trust_env=False, timeout=60).status_code)
    assert_within(time.monotonic() - begin, 2)
    assert answers == [504] * 4
    assert server.get("/attack").status_code == 200
    assert server.memory() - before < 32 * 2**20


@pytest.mark.parametrize("name", SMALL)
def test_many_small_calls_delay_nobody(attacked: Server, name: str) -> None:
    path = f"/small/{list(SMALL).index(name)}"
    assert [attacked.get(path).status_code for _ in range(QUICK)] == [200] * QUICK

    def attack(_: int) -> None:
        with send(attacked, get(f"{path}?go")) as connection:
            while connection.recv(65536) not in (b"", b"0\r\n\r\n"):
                if time.monotonic() > end:
                    return

    end = time.monotonic() + 3
    with others_answered(attacked):
        together(16, attack)
