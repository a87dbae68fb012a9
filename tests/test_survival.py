"""What guests, clients and disks do to a server, and that it goes on answering everybody else."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from tests import guests
from tests.conftest import Serve, Server, running, wait_until
from wagi_gateway.errors import (
    AtCapacity,
    BadOutput,
    BodyTooLarge,
    GuestFailed,
    OutOfTime,
    RequestError,
    RequestTimeout,
)

T = TypeVar("T")

QUICK = 1.0
"""Seconds in which everybody else has to be answered while one route is under attack."""
FREED = 2.0
"""Seconds in which a sandbox is free again once its client has gone."""
MEMORY_ROOM = 32 * 2**20
DESCRIPTOR_ROOM = 4
SLOTS = 32
"""Sandboxes a test may use at the same time; their pipes are kept for the next guests."""
MIB = 2**20


def when_asked(attack: str) -> str:
    """A guest that says hello; asked with a query, it first writes "at work" to standard error and does `attack`."""
    hello = guests.CONTENT_TYPE + b"hello\n"
    return f"""(module
 (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 2)
 (data (i32.const 512) "at work\\n") (data (i32.const 1024) {guests.wat_string(hello)})
 (func $write (param $fd i32) (param $at i32) (param $length i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
  (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
 (func $sleep (param $nanoseconds i64)
  (i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (local.get $nanoseconds))
  (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300))))
 (func (export "_start")
  (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (if (i32.gt_u (i32.load (i32.const 16)) (i32.const 1)) (then
   (call $write (i32.const 2) (i32.const 512) (i32.const 8))
   {attack}))
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(hello)}))))"""


LOOP = when_asked("(loop $forever (br $forever))")
SLEEP = when_asked("(call $sleep (i64.const 3600000000000))")
NAP = when_asked("(call $sleep (i64.const 1000000000))")
STREAM = when_asked(
    f"""(call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE)}))
    (loop $forever (call $write (i32.const 1) (i32.const 0) (i32.const 65536)) (br $forever))"""
)
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
    """A guest, what the client is told of it, and what the log is told."""

    name: str
    guest: str
    error: type[RequestError]
    reason: str


ATTACKS = (
    Attack("loop", guests.LOOP, OutOfTime, r"limits\.time"),
    Attack("sleep", guests.SLEEP, OutOfTime, r"limits\.time"),
    Attack("memory_bomb", TOUCHING_MEMORY_BOMB, GuestFailed, "unreachable"),
    Attack("stack_overflow", guests.STACK_OVERFLOW, GuestFailed, "call stack exhausted"),
    Attack("trap", guests.TRAP, GuestFailed, "unreachable"),
    Attack("giant_header_block", GIANT_HEADER_BLOCK, BadOutput, "header block is longer than 65536 bytes"),
    Attack("endless_header_line", ENDLESS_HEADER_LINE, BadOutput, "header block is longer than 65536 bytes"),
    Attack("no_output", guests.NO_OUTPUT, BadOutput, "printed nothing"),
    Attack("exit_without_output", guests.exits(1), GuestFailed, "exited with code 1"),
    Attack("no_header_block", guests.says(b"secret of the guest"), BadOutput, "empty line"),
    Attack("local_redirect_loop", guests.says(b"location: /local_redirect_loop\n\n"), BadOutput, "redirect"),
    Attack("no_header", guests.says(b"secret of the guest\n\n"), BadOutput, "no colon"),
)
CUT_OFF = (
    ("endless_stdout", guests.ENDLESS_STDOUT, r"limits\.stdout"),
    ("endless_stderr", guests.ENDLESS_STDERR, r"limits\.time"),
    ("late_trap", guests.says(guests.CONTENT_TYPE + b"x" * 300_000, then="unreachable"), "unreachable"),
)
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


def module(route: str, name: str, **limits: object) -> str:
    """A `[[module]]` for the guest in `name`.wat."""
    settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in limits.items())
    return f'\n[[module]]\nroute = "{route}"\nmodule = "{name}.wat"\nlimits = {{ {settings} }}\n'


@pytest.fixture(scope="module")
def shared_city(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    """One server with every guest of this file."""
    texts = {attack.name: attack.guest for attack in ATTACKS} | {name: guest for name, guest, _ in CUT_OFF} | HOLDS
    texts |= {"hello": guests.HELLO, "nap": NAP, "queue": NAP, "impatient": NAP}
    config = textwrap.dedent(CONFIG) + "".join(
        module(f"/{name}", name) for name in texts if name not in HOLDS and name not in {"nap", "queue", "impatient"}
    )
    config += "".join(module(f"/{name}", name, concurrency=1, time="30s") for name in HOLDS)
    config += module("/nap", "nap", time="5s", concurrency=SLOTS)
    config += module("/stalled", "hold_stream", concurrency=1, stdout="1GiB")
    config += module("/queue", "queue", concurrency=2, queue=3, time="5s")
    config += module("/impatient", "impatient", concurrency=1, queue_time="200ms", time="5s")
    directory = tmp_path_factory.mktemp("city")
    for name, text in texts.items():
        (directory / f"{name}.wat").write_text(text)
    with running(directory, config, cache=cache) as server:
        together(SLOTS, lambda _: httpx.get(f"{server.url}/nap?sleep", trust_env=False))
        yield server


@pytest.fixture
def city(shared_city: Server) -> Iterator[Server]:
    """The shared server, which has to come out of the test as it went in."""
    with unharmed(shared_city):
        yield shared_city


@contextmanager
def unharmed(server: Server) -> Iterator[None]:
    """The server lives, has nothing to be ashamed of in its log, and gives descriptors and memory back."""
    server.get("/hello")
    logged = len(server.log)
    descriptors, memory = server.descriptors() + DESCRIPTOR_ROOM, server.memory() + MEMORY_ROOM
    yield
    wait_until(lambda: server.descriptors() <= descriptors, message=lambda: f"{server.descriptors()} descriptors open")
    wait_until(lambda: server.memory() <= memory, message=lambda: f"{server.memory() >> 20} MiB resident")
    assert server.process.poll() is None
    assert server.get("/hello").text == "hello world\n"
    assert "Traceback" not in server.log[logged:]


@contextmanager
def others_answered(server: Server) -> Iterator[None]:
    """Another route and the health check answer quickly, again and again, while the body runs."""
    is_over = threading.Event()

    def ask() -> float:
        worst = 0.0
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            for path in itertools.cycle(("/hello", "/healthz")):
                begin = time.perf_counter()
                assert client.get(path).status_code == 200
                worst = max(worst, time.perf_counter() - begin)
                if path == "/healthz" and is_over.wait(0.02):
                    break
        return worst

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        try:
            yield
        finally:
            is_over.set()
            worst = asking.result()
    assert worst < QUICK


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """The results of `count` calls made at the same time."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def send(server: Server, request: bytes) -> socket.socket:
    """A raw connection with this request sent on it."""
    connection = server.connect()
    connection.sendall(request)
    return connection


def get(path: str) -> bytes:
    """A GET as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def reset(connection: socket.socket) -> None:
    """Closes a connection as a client that crashes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for_work(server: Server, route: str, count: int = 1) -> None:
    """Returns when the `count`th guest of this route has said that it is at work."""
    server.wait_for_log(rf"(?s)(at work route={route} .*){{{count}}}")


# Guests


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_bad_guest_is_an_error_for_its_client_alone(city: Server, attack: Attack) -> None:
    with others_answered(city):
        response = city.get(f"/{attack.name}")
    assert (response.status_code, response.text) == (attack.error.status, f"{attack.error.public}\n")
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
        statuses = together(len(paths), lambda number: httpx.get(city.url + paths[number], trust_env=False).status_code)
    assert statuses == [504, 504, 500, 500, 500, 502, 502, 504]


# Clients that stop or go


def test_a_reader_that_stalls_holds_no_sandbox_and_no_connection(city: Server) -> None:
    descriptors = city.descriptors()
    with socket.socket() as connection, others_answered(city):
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
        assert time.monotonic() - begin < FREED


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
    assert answer.endswith(f"\r\n\r\n{BodyTooLarge.public}\n".encode())
    city.wait_for_log(r"status=413 route=/hold_loop .*limits\.body")


def test_an_upload_without_length_over_the_limit_is_refused(city: Server) -> None:
    chunks = (b"x" * 65536 for _ in range(17))
    response = httpx.post(f"{city.url}/hold_loop?chunked", content=chunks, trust_env=False)
    assert (response.status_code, response.text) == (413, f"{BodyTooLarge.public}\n")


def test_an_upload_that_takes_too_long_is_refused(city: Server) -> None:
    with others_answered(city), send(city, UPLOAD % (b"slow", b"Content-Length: 4", b"x")) as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(f"\r\n\r\n{RequestTimeout.public}\n".encode())
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
    responses = together(10, lambda _: httpx.get(f"{city.url}/queue?nap", trust_env=False))
    assert sorted(response.status_code for response in responses) == [200] * 5 + [503] * 5
    for response in responses:
        if response.status_code == 503:
            assert (response.headers["retry-after"], response.text) == ("1", f"{AtCapacity.public}\n")
    city.wait_for_log(r"WARNING .*503: 3 requests wait already route=/queue id=")


def test_a_request_that_waits_too_long_is_turned_away(city: Server) -> None:
    at_work = city.log.count("at work route=/impatient ")
    with send(city, get("/impatient?hold")) as connection, others_answered(city):
        wait_for_work(city, "/impatient", at_work + 1)
        response = city.get("/impatient")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        city.wait_for_log(r"WARNING .*503: no place became free in 0\.2 s route=/impatient id=")
        assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")


# The cache on disk

HELLO_SITE = '[[module]]\nroute = "/hello"\nmodule = "hello.wat"\n'


def hello_directory(directory: Path) -> Path:
    """A directory with a modules.toml and its one guest."""
    (directory / "hello.wat").write_text(guests.HELLO)
    (directory / "modules.toml").write_text(HELLO_SITE)
    return directory


def serves_hello(directory: Path, cache: Path, preexec: Callable[[], None] | None = None) -> str:
    """Starts a server, has it say hello, ends it; returns its log."""
    with running(directory, HELLO_SITE, cache=cache, preexec=preexec) as server:
        assert server.get("/hello").text == "hello world\n"
    assert "Traceback" not in server.log
    return server.log


def only(directory: Path, pattern: str) -> Path:
    """The only file that matches."""
    (path,) = directory.glob(pattern)
    return path


def flip_a_byte(artefact: Path, _note: Path) -> None:
    data = bytearray(artefact.read_bytes())
    data[len(data) // 2] ^= 1
    artefact.write_bytes(data)


def take_another(artefact: Path, note: Path, *, with_note: bool) -> None:
    other = artefact.parent.parent / "other"
    other.mkdir()
    (other / "hello.wat").write_text(guests.says(guests.CONTENT_TYPE + b"not hello\n"))
    serve_once = [sys.executable, "-m", "wagi_gateway", "check", "modules.toml", "--cache-dir", "cache"]
    (other / "modules.toml").write_text(HELLO_SITE)
    subprocess.run(serve_once, cwd=other, check=True, capture_output=True)
    shutil.copy(only(other, "cache/*.cwasm"), artefact)
    if with_note:
        shutil.copy(only(other, "cache/*.json"), note)


CORRUPTIONS: dict[str, Callable[[Path, Path], object]] = {
    "truncated": lambda artefact, _: os.truncate(artefact, artefact.stat().st_size // 2),
    "empty": lambda artefact, _: os.truncate(artefact, 0),
    "flipped byte": flip_a_byte,
    "garbage": lambda artefact, _: artefact.write_bytes(os.urandom(4096)),
    "garbage with a note": lambda artefact, note: (
        artefact.write_bytes(b"garbage"),
        note.write_text(json.dumps({"sha256": hashlib.sha256(b"garbage").hexdigest(), "identity": []})),
    ),
    "another module": lambda artefact, note: take_another(artefact, note, with_note=False),
    "another module and its note": lambda artefact, note: take_another(artefact, note, with_note=True),
    "note not JSON": lambda _, note: note.write_text("{"),
    "note not UTF-8": lambda _, note: note.write_bytes(b"\xff"),
    "note of another shape": lambda _, note: note.write_text('{"identity": 7}'),
    "no note": lambda _, note: note.unlink(),
    "no artefact": lambda artefact, _: artefact.unlink(),
    "writable by others": lambda artefact, _: artefact.chmod(0o666),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_a_corrupt_cache_entry_is_compiled_again(tmp_path: Path, corrupt: Callable[[Path, Path], object]) -> None:
    directory, cache = hello_directory(tmp_path), tmp_path / "cache"
    check(directory, "--cache-dir", str(cache))
    artefact, note = only(cache, "*.cwasm"), only(cache, "*.json")
    corrupt(artefact, note)
    serves_hello(directory, cache)
    digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
    assert json.loads(note.read_text())["sha256"] == digest
    assert artefact.stat().st_mode & 0o777 == 0o600


def check(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `wagi-gateway check` on a directory's modules.toml."""
    command = [sys.executable, "-m", "wagi_gateway", "check", str(directory / "modules.toml"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


def obey_modes() -> None:
    """Makes root obey permission bits, as everybody else does: without CAP_DAC_OVERRIDE after the next exec."""
    import ctypes

    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


def limit_files() -> None:
    """Lets no file grow beyond 4 KiB, as a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_without_a_writable_cache_the_server_serves(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    assert "is not writable" in serves_hello(hello_directory(tmp_path), cache, obey_modes)
    assert not list(cache.iterdir())


def test_with_a_full_disk_the_server_serves(tmp_path: Path) -> None:
    assert "the cache cannot be written" in serves_hello(hello_directory(tmp_path), tmp_path / "cache", limit_files)
    assert not list((tmp_path / "cache").glob("*.cwasm"))


def test_a_body_that_does_not_fit_the_disk_is_turned_away(tmp_path: Path, cache: Path) -> None:
    directory = hello_directory(tmp_path)
    check(directory, "--cache-dir", str(cache))
    config = f'[server]\nbody_memory = "1KiB"\n{HELLO_SITE}'
    with running(directory, config, cache=cache, preexec=limit_files) as server:
        assert server.post("/hello", b"x" * 1024).status_code == 200
        assert server.post("/hello", b"x" * 100_000).status_code == 503
        assert server.get("/hello").status_code == 200
        assert "Traceback" not in server.log


def test_a_cache_directory_that_is_no_directory_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert "WARNING cache: " in serves_hello(hello_directory(tmp_path), tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_cache_directory_of_another_owner_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, 65534, 65534)
    assert "belongs to user 65534" in serves_hello(hello_directory(tmp_path), cache)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_directory_others_can_write_is_not_used(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    assert f"writable by others (mode {mode:04o})" in serves_hello(hello_directory(tmp_path), cache)
    assert not list(cache.iterdir())


LOAD = """
import sys
from contextlib import contextmanager
from pathlib import Path
from wagi_gateway.configfile import read_config
from wagi_gateway.startup import load

@contextmanager
def compiling(source):
    print("compiled", source.path.name)
    yield

load(read_config(Path(sys.argv[1]), {"cache": {"directory": sys.argv[2]}}), compiling)
print("loaded")
"""


def test_processes_that_start_together_compile_once(tmp_path: Path) -> None:
    directory = hello_directory(tmp_path)
    command = [sys.executable, "-c", LOAD, str(directory / "modules.toml"), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    output = "".join(process.communicate(timeout=30)[0] for process in processes)
    assert (output.count("compiled"), output.count("loaded")) == (1, 4)


# Starting and stopping

TEN_MISTAKES = """
    colour = "blue"
    [server]
    listne = "127.0.0.1:0"
    workers = 0
    [limits]
    time = "soon"
    memory = "1 elephant"
    [log]
    format = "xml"
    [[module]]
    route = "/absent"
    module = "absent.wasm"
    [[module]]
    route = "no-slash"
    module = "hello.wat"
    [[module]]
    route = "/entrypoint"
    module = "hello.wat"
    entrypoint = "strat"
    [[module]]
    route = "/broken"
    module = "broken.wat"
    [[module]]
    route = "/import"
    module = "import.wat"
    [[module]]
    route = "/volume"
    module = "hello.wat"
    volumes = { "/data" = "nowhere" }
    [[module]]
    route = "/environment"
    module = "hello.wat"
    environment = { PATH_INFO = "mine" }
    [[module]]
    route = "/twice"
    module = "hello.wat"
    [[module]]
    route = "/twice"
    module = "hello.wat"
    [[module]]
    module = "hello.wat"
"""
MISTAKES = (
    "colour: unknown key",
    "server.listne: unknown key; did you mean listen?",
    "server.workers = 0",
    'limits.time = "soon": not a duration',
    'limits.memory = "1 elephant": not a size',
    'log.format = "xml"',
    "absent.wasm",
    'route = "no-slash"',
    'entrypoint = "strat": there is no such export',
    "broken.wat",
    "imports env.missing",
    'volumes."/data" = "nowhere"',
    "environment.PATH_INFO",
    "/twice is taken",
    "route: missing",
)


def serve_and_fail(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `wagi-gateway serve` on a directory's modules.toml, which must end by itself."""
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(directory / "modules.toml"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_every_mistake_is_reported_at_once(tmp_path: Path, cache: Path) -> None:
    hello_directory(tmp_path)
    (tmp_path / "modules.toml").write_text(textwrap.dedent(TEN_MISTAKES))
    (tmp_path / "broken.wat").write_text("(module")
    (tmp_path / "import.wat").write_text('(module (import "env" "missing" (func)) (func (export "_start")))')
    result = serve_and_fail(tmp_path, "--cache-dir", str(cache), "--listen", "127.0.0.1:0")
    assert (result.returncode, result.stdout) == (3, "")
    assert [mistake for mistake in MISTAKES if mistake not in result.stderr] == []
    assert result.stderr.count("error: ") == len(MISTAKES)
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_said_and_nothing_is_served(tmp_path: Path, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = serve_and_fail(hello_directory(tmp_path), "--cache-dir", str(cache), "--listen", listen)
    assert (result.returncode, result.stdout) == (3, "")
    assert f"cannot serve on {listen}: Address already in use" in result.stderr
    assert "Traceback" not in result.stderr


ENDED = (0, -signal.SIGTERM)


def test_a_request_in_flight_outlives_sigterm(serve: Serve) -> None:
    server = serve(module("/nap", "nap"), nap=NAP)
    with send(server, get("/nap?now")) as connection:
        wait_for_work(server, "/nap")
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith((b"\r\n\r\nhello\n", b"\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n"))
    assert server.process.wait(10) in ENDED
    assert "Traceback" not in server.log


@pytest.mark.parametrize("attack", [LOOP, SLEEP, STREAM], ids=["loop", "sleep", "stream"])
def test_a_guest_that_does_not_end_does_not_outlive_the_grace(serve: Serve, attack: str) -> None:
    server = serve('[server]\nshutdown_grace = "1s"\n' + module("/hold", "hold", time="1h"), hold=attack)
    with send(server, get("/hold?now")) as connection:
        wait_for_work(server, "/hold")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert server.process.wait(10) in ENDED
        assert time.monotonic() - begin < 5
    assert answer.startswith(b"HTTP/1.1 200 " if attack is STREAM else b"HTTP/1.1 503 ")
    assert not answer.endswith(b"\r\n0\r\n\r\n")
    assert "Traceback" not in server.log


def workers(server: Server) -> set[int]:
    """The worker processes of a server."""
    pid = server.process.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return {child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def test_a_worker_that_dies_is_replaced(serve: Serve) -> None:
    server = serve(module("/hello", "hello"), "--workers", "2", hello=guests.HELLO)
    before = workers(server)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(workers(server) - before) == 1 and len(workers(server)) == 2)
    answers = together(8, lambda _: httpx.get(f"{server.url}/hello", trust_env=False).text)
    assert answers == ["hello world\n"] * 8
    assert "Traceback" not in server.log
