"""Bounds on the resources of guests and clients: descriptors, log lines, host calls, spools, paths."""

from __future__ import annotations

import contextlib
import resource
import select
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT, Serve, Server, running, wait_until, warnings
from tests.support import guests
from tests.support.attacks import get, send
from tests.support.clock import assert_within
from tests.support.config import config, guest, module
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.sandbox.stack import GUEST_STACK
from wagi_gateway.site.load import load

_PATH_OPEN = (
    '(import "wasi_snapshot_preview1" "path_open"'
    " (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
)
OPENER = guests.says(
    b"",
    imports=_PATH_OPEN,
    repeat="(drop (call $open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0)"
    " (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))",
).replace('(data (i32.const 1024) "")', '(data (i32.const 1024) "f")', 1)
NEWLINES = guests.says(b"\n" * 65536, repeat="(call $write (i32.const 2) (i32.const 1024) (i32.const 65536))").replace(
    "(call $write (i32.const 1) (i32.const 1024) (i32.const 65536))", "", 1
)
POLLS = f"""(module {guests.POLL} (memory (export "memory") 1)
 (func (export "_start") (loop
  (i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (i64.const 0))
  (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300))) (br 0))))"""


LIMITS = {"time": "1500ms"}


def _few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


READER = f"""(module {_PATH_OPEN} {guests.FD_WRITE} (memory (export "memory") 1)
 (data (i32.const 0) "\\10\\00\\00\\00\\1c\\00\\00\\00") (data (i32.const 16) "content-type: text/plain\\n\\nok")
 (data (i32.const 64) "f")
 (func (export "_start")
  (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0)
   (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)) (then unreachable))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 128)))))"""


def test_a_guest_that_opens_files_without_end_pays_itself(tmp_path: Path, cache: Path) -> None:
    """Another module's guest opens its file all the while."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").touch()
    (tmp_path / "opener.wat").write_text(OPENER)
    (tmp_path / "reader.wat").write_text(READER)
    volumes = {"/": {"path": "data", "read_only": True}}
    modules = (
        module("/opener", "opener.wat", limits=LIMITS | {"files": 4096, "concurrency": 8}, volumes=volumes),
        module("/reader", "reader.wat", volumes=volumes),
    )
    with running(tmp_path, "".join(modules), cache=cache, preexec=_few_descriptors) as server:
        server.get("/healthz")
        before = server.descriptors()
        with ThreadPoolExecutor(8) as pool:
            openers = [pool.submit(server.get, "/opener") for _ in range(8)]
            while not all(opener.done() for opener in openers):
                assert server.get("/reader").text == "ok"
        assert [opener.result().status_code for opener in openers] == [504] * 8
        wait_until(lambda: server.descriptors() <= before + 16)  # the connections, and wasmtime's threads


def _hardly_any_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


def test_connections_wait_for_descriptors(tmp_path: Path, cache: Path) -> None:
    """No connection is reset, open ones are served, and waiting ones are served when others close."""
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    with (
        running(
            tmp_path,
            guest("/hello", "hello", concurrency=4, queue=200),
            cache=cache,
            preexec=_hardly_any_descriptors,
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        waiting = [stack.enter_context(send(server, get("/hello"))) for _ in range(200)]
        server.wait_for_log("WARNING new connections wait: few descriptors are left")
        while waiting:
            answered = select.select(waiting, [], [], 10)[0]
            assert answered, f"{len(waiting)} connections wait in vain"
            assert len(answered) < 100
            for connection in answered:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
                connection.close()
            waiting = [connection for connection in waiting if connection not in answered]
        assert len(warnings(server.log)) == 1


@pytest.mark.parametrize(
    ("stack", "workers"),
    [*((kib * 1024, 1) for kib in (256, 512, 1024, 2048, 3072, 8192)), (resource.RLIM_INFINITY, 1), (2**20, 2)],
)
def test_a_guest_overflows_its_stack_and_not_the_servers(tmp_path: Path, cache: Path, stack: int, workers: int) -> None:
    """Whatever the main thread's stack is, for guests that were quick until then as well."""
    if (hard := resource.getrlimit(resource.RLIMIT_STACK)[1]) not in (resource.RLIM_INFINITY, stack):
        pytest.skip(f"RLIMIT_STACK is {hard} here")
    (tmp_path / "deep.wat").write_text(guests.STACK_OVERFLOW)
    (tmp_path / "later.wat").write_text(guests.if_argument("(call $again)", fields="(func $again (call $again))"))
    config = guest("/deep", "deep", **LIMITS) + guest("/later", "later", **LIMITS)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))

    options = ("--workers", str(workers))
    with running(tmp_path, config, *options, cache=cache, preexec=bound) as server:
        for _ in range(2):
            assert [server.get("/deep").status_code for _ in range(3)] == [500] * 3
            assert [server.get("/later").status_code for _ in range(40)] == [200] * 40
            assert [server.get("/later?deep").status_code for _ in range(3)] == [500] * 3
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("reloaded: 2 routes")
        server.process.terminate()
        assert server.process.wait(20) == 0
        warned = [line for line in server.log.splitlines() if "quick guests run on threads of their own" in line]
        assert len(warned) == (0 <= stack < GUEST_STACK)


def _slowest_health(server: Server, seconds: float) -> float:
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        slowest = max(slowest, server.get("/healthz").elapsed.total_seconds())
    return slowest


@pytest.mark.parametrize(("name", "wat"), [("newlines", NEWLINES), ("polls", POLLS)])
def test_floods_do_not_keep_others_waiting(serve: Serve, name: str, wat: str) -> None:
    server = serve(guest(f"/{name}", name, **LIMITS), **{name: wat})
    connections = [server.connect() for _ in range(8)]
    for connection in connections:
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert_within(_slowest_health(server, 1.0), 1.0)
    for connection in connections:
        assert connection.recv(100).startswith(b"HTTP/1.1 504")
        connection.close()
    assert len(server.log) < 8 * 2 * 2**20


def test_a_path_of_slashes_is_refused_before_it_is_looked_at(hello_server: Server) -> None:
    begin = time.monotonic()
    answer = hello_server.exchange(b"GET " + b"/" * 60_000 + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414")
    assert_within(time.monotonic() - begin, 0.3)


def test_all_bodies_together_are_bounded(serve: Serve) -> None:
    server = serve(config(module("/echo", ROOT / "samples/c/echo.wasm"), server={"spool": "1MiB"}))
    for _ in range(3):
        assert server.post("/echo", b"x" * 1_000_000).status_code == 200
        assert server.post("/echo", b"x" * 2_000_000).status_code == 503
    server.wait_for_log("503: the bodies of all requests together are over server.spool")


def test_client_chosen_names_are_not_kept(hello_server: Server) -> None:
    def ask(number: int) -> None:
        name = b"x-%d-" % number + b"n" * 50_000
        head = b"GET /hello HTTP/1.1\r\nHost: " + b"h" * 15_000 + b"%d\r\n" % number + name + b": 1\r\n"
        assert hello_server.exchange(head + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 400")

    ask(0)
    before = hello_server.memory()
    for number in range(300):
        ask(number)
    assert hello_server.memory() - before < 8 * 2**20


@pytest.mark.parametrize(
    ("request_head", "status"),
    [(b"GET /slow HTTP/1.0\r\n", b"200"), (b"HEAD /slow HTTP/1.1\r\n", b"200"), (b"GET /later HTTP/1.1\r\n", b"304")],
)
def test_a_head_that_is_flushed_first_is_waited_for(serve: Serve, request_head: bytes, status: bytes) -> None:
    slow = guests.sleeps(100_000_000, guests.CONTENT_TYPE, b"body")
    later = guests.sleeps(100_000_000, b"status: 304\n\n", b"body")
    server = serve(guest("/slow", "slow", **LIMITS) + guest("/later", "later", **LIMITS), slow=slow, later=later)
    answer = server.exchange(request_head + b"Host: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"\r\n\r\nbody" if b"1.0" in request_head else b"\r\n\r\n")


def test_a_huge_content_length_of_a_guest(serve: Serve) -> None:
    wat = guests.says(b"content-type: text/plain\ncontent-length: " + b"9" * 5000 + b"\n\n")
    server = serve(guest("/huge", "huge", **LIMITS), huge=wat)
    assert server.client.head(server.url + "/huge").status_code == 200


def test_the_cache_may_not_lie_where_a_guest_writes(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text('[cache]\ndirectory = "cache"\n' + module("/m", "m.wat", limits=LIMITS, volumes={"/": "."}))
    with pytest.raises(StartupError, match=r"holds this file, the cache .*/cache and the module .*/m\.wat,"):
        load(read_config(path))
