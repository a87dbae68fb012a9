"""What ends a call before its time: the guest's deadline, a client that leaves, the server's end."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests import guests
from tests.conftest import Server, running, wait_until
from tests.outbound.farm import Target
from tests.sandbox.test_sandbox import ENGINE, warm
from tests.test_survival import others_answered
from wagi_gateway.config import Limits
from wagi_gateway.outbound.client import Call, Client
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.session import Session
from wagi_gateway.sandbox import Execution, Invocation, Sandbox

TIME = 0.5
"""`limits.time` of the hasty route."""
LATE = 1.0
"""Seconds after which an end would come too late."""


class Raw:
    """A server on a loopback port that answers each connection with a function, until the client hangs up."""

    def __init__(self, answer: Callable[[socket.socket], None] | None) -> None:
        """Without `answer` nobody accepts."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted = 0
        self.hung_up = 0
        self._answer = answer
        self._threads: list[threading.Thread] = []
        if answer:
            self._start(self._accept)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self.listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        assert self._answer
        with connection:
            try:
                self._answer(connection)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
            self.hung_up += 1


def silent(_connection: socket.socket) -> None:
    """Says nothing."""


def interim(connection: socket.socket) -> None:
    """Interim responses, faster than anybody reads."""
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 2000)


def framing(connection: socket.socket) -> None:
    """A chunked body of little more than chunk extensions, faster than anybody reads."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        connection.sendall((b"1;" + b"x" * 500 + b"\r\na\r\n") * 200)


def half(connection: socket.socket) -> None:
    """Half of a response's head."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-le")


@contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a port to which no further connection can be made: it is not refused, either."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        try:
            # The first of them that is not connected at once waits for a place in the queue.
            while len(waiting) < 64:
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
                if not select.select([], [waiting[-1]], [], 0.1)[1]:
                    break
            else:
                pytest.skip("this system's backlogs are never full")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for connection in waiting:
                connection.close()


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway, and servers that keep its guests waiting."""

    gateway: Server
    target: Target
    secure: Target
    raws: dict[str, Raw]
    blackhole: str

    def url(self, name: str) -> str:
        """Where a way to wait is."""
        match name:
            case "slow" | "drip":
                return f"{self.target.url}/{name}?seconds=30"
            case "secure-slow" | "secure-drip":
                return f"{self.secure.url}/{name.removeprefix('secure-')}?seconds=30"
            case "handshake":
                return self.raws["silent"].url.replace("http", "https")
            case "connect":
                return self.blackhole
        return self.raws[name].url

    def hung_up(self, name: str) -> int:
        """How many connections ended there by our doing."""
        if name in ("slow", "drip"):
            return self.target.hung_up
        if name.startswith("secure"):
            return self.secure.hung_up
        return self.raws["silent" if name == "handshake" else name].hung_up

    def asked(self, name: str) -> int:
        """How many connections or requests came there."""
        if name in ("slow", "drip"):
            return len(self.target.requests)
        if name.startswith("secure"):
            return len(self.secure.requests)
        return self.raws["silent" if name == "handshake" else name].accepted


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path, caller: Path) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("ends")
    (directory / "hello.wat").write_text(guests.HELLO)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    raws = {answer.__name__: Raw(answer) for answer in (silent, interim, framing, half)}
    try:
        with Target() as target, Target(tls=tls) as secure, full_backlog() as blackhole:
            allowed = [target.url, secure.url, blackhole, *(raw.url for raw in raws.values())]
            allowed.append(raws["silent"].url.replace("http", "https"))
            config = '[outbound]\nca_file = "ca.pem"\n[[module]]\nroute = "/hello"\nmodule = "hello.wat"\n'
            for route, limits in (("hasty", f'time = "{TIME * 1000:.0f}ms"'), ("patient", 'time = "20s"')):
                config += f'[[module]]\nroute = "/{route}"\nmodule = "{caller}"\nallowed_hosts = {allowed}\n'
                config += f"limits = {{ {limits}, concurrency = 1 }}\n"
            with running(directory, config, cache=cache) as gateway:
                # The first handshake reads the system's authorities.
                gateway.post("/patient", f"req GET {secure.url}/hello".encode())
                yield Site(gateway, target, secure, raws, blackhole)
    finally:
        for raw in raws.values():
            raw.close()


WAITS = ["slow", "drip", "secure-slow", "secure-drip", "silent", "half", "handshake"]
FLOODS = ["interim", "framing"]


def lines(url: str) -> bytes:
    """A call to there, and all it answers."""
    return f"req GET {url}\ndrain 1000000".encode()


def is_free(site: Site, route: str) -> None:
    """The only place of a route is free again at once."""
    begin = time.monotonic()
    assert site.gateway.post(route, b"").status_code == 200
    assert time.monotonic() - begin < LATE


@pytest.mark.parametrize("name", [*WAITS, *FLOODS, "connect"])
def test_the_guests_deadline_ends_its_call(site: Site, name: str) -> None:
    hung_up = 0 if name == "connect" else site.hung_up(name)
    with others_answered(site.gateway):
        begin = time.monotonic()
        response = site.gateway.post("/hasty", lines(site.url(name)))
        took = time.monotonic() - begin
        assert response.status_code == 504
        assert TIME <= took < TIME + LATE
        is_free(site, "/hasty")
    if name != "connect":
        wait_until(lambda: site.hung_up(name) > hung_up, LATE)
    request_id = response.headers["x-request-id"]
    site.gateway.wait_for_log(rf"call GET \S+ outcome=(stopped|timeout) .*id={request_id}")
    site.gateway.wait_for_log(rf"504: the guest ran into limits\.time \(0\.5 s\) route=/hasty id={request_id}")


@pytest.mark.parametrize("name", [*WAITS, *FLOODS])
def test_a_client_that_leaves_ends_the_call(site: Site, name: str) -> None:
    asked, hung_up = site.asked(name), site.hung_up(name)
    body = lines(site.url(name))
    with others_answered(site.gateway):
        with site.gateway.connect() as client:
            head = f"POST /patient?{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_until(lambda: site.asked(name) > asked)
        wait_until(lambda: site.hung_up(name) > hung_up, 2 * LATE)
        is_free(site, "/patient")
    site.gateway.wait_for_log(rf"POST /patient\?{name} status=499")


@pytest.mark.parametrize("name", ["slow", "drip", "handshake"])
def test_the_end_of_the_server_ends_the_call(site: Site, name: str, tmp_path: Path, cache: Path, caller: Path) -> None:
    config = f"""
        [server]
        shutdown_grace = "1s"
        [[module]]
        route = "/caller"
        module = "{caller}"
        allowed_hosts = {[site.target.url, site.raws["silent"].url.replace("http", "https")]}
    """
    asked, hung_up = site.asked(name), site.hung_up(name)
    with running(tmp_path, config, cache=cache) as gateway, gateway.connect() as client:
        body = lines(site.url(name))
        head = f"POST /caller HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_until(lambda: site.asked(name) > asked)
        begin = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - begin < 1.0 + 2 * LATE
        wait_until(lambda: site.hung_up(name) > hung_up, LATE)
        assert "Traceback" not in gateway.log


def test_many_that_wait_hold_up_nobody(site: Site, tmp_path: Path, cache: Path, caller: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    config = f"""
        [[module]]
        route = "/hello"
        module = "hello.wat"
        [[module]]
        route = "/caller"
        module = "{caller}"
        allowed_hosts = ["{site.target.url}"]
        limits = {{ concurrency = 64 }}
    """
    asked, hung_up = site.asked("slow"), site.hung_up("slow")
    with running(tmp_path, config, cache=cache) as gateway:
        clients = []
        body = lines(site.url("slow"))
        for _ in range(64):
            clients.append(gateway.connect())
            head = f"POST /caller HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            clients[-1].sendall(head.encode() + body)
        with others_answered(gateway):
            wait_until(lambda: site.asked("slow") == asked + 64)
            for client in clients:
                client.close()
            wait_until(lambda: site.hung_up("slow") == hung_up + 64)
        wait_until(lambda: gateway.log.count("POST /caller status=499") == 64)


# A look-up cannot be made to hang from outside, so these run a guest alone.


def guest_that_calls(url: bytes) -> str:
    """A guest that exits with 0 if its call is answered, and else with the error."""
    return f"""(module {guests.PROC_EXIT}
     (import "wasi_experimental_http" "req"
      (func $req (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
     (memory (export "memory") 1)
     (data (i32.const 1024) {guests.wat_string(url)}) (data (i32.const 512) "GET")
     (func (export "_start") (call $exit
      (call $req (i32.const 1024) (i32.const {len(url)}) (i32.const 512) (i32.const 3) (i32.const 0) (i32.const 0)
       (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16)))))"""


def run_with(
    client: Client, limits: Limits, until: Callable[[], bool] | None = None
) -> tuple[Execution, list[Call], float]:
    """How a guest that calls http://name.test/ ended, what it called and how long it took; it is left once `until`."""
    calls: list[Call] = []

    async def main() -> tuple[Execution, list[Call], float]:
        async with Sandbox(ENGINE) as sandbox:
            ended = asyncio.Event()
            session = Session(client, calls.append)
            module = warm(guest_that_calls(b"http://name.test/"))
            guest = Invocation(module, b"_start", limits=limits, argv=[b"/"], environ={}, outbound=session)
            begin = time.monotonic()
            execution = sandbox.start(guest, on_end=lambda _: ended.set())
            if until:
                await asyncio.to_thread(wait_until, until)
                execution.release()
            await asyncio.wait_for(ended.wait(), 10)
            session.end()
            return execution, calls, time.monotonic() - begin

    return asyncio.run(main())


@dataclass(slots=True)
class Hanging:
    """A resolver that answers when the test is over."""

    asked: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str) -> list[str]:
        assert name == "name.test"
        self.asked += 1
        self.is_over.wait(30)
        return ["127.0.0.1"]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    lookup = Hanging()
    yield lookup
    lookup.is_over.set()


@pytest.mark.parametrize(
    ("limits", "outcome", "reason"),
    [
        pytest.param({"time": 0.3}, "stopped", "the guest had to end", id="time"),
        pytest.param({"http_time": 0.3}, "timeout", "http_time", id="http_time"),
        pytest.param({"http_connect_time": 0.3}, "timeout", "http_connect_time", id="http_connect_time"),
    ],
)
def test_a_look_up_that_hangs_is_not_waited_for(
    hanging: Hanging, limits: dict[str, float], outcome: str, reason: str
) -> None:
    client = Client(Policy(["name.test"]), Limits.model_validate(limits), 1, lookup=hanging)
    execution, calls, took = run_with(client, client.limits)
    assert 0.3 <= took < 0.3 + LATE
    assert [(call.outcome, call.origin) for call in calls] == [(outcome, "http://name.test")]
    assert reason in calls[0].reason
    assert execution.stop_reason == ("time" if outcome == "stopped" else None)
    if not execution.stop_reason:
        assert execution.outcome
        assert execution.outcome.code == 11


def test_a_look_up_that_hangs_ends_with_the_client(hanging: Hanging) -> None:
    client = Client(Policy(["name.test"]), Limits(), 1, lookup=hanging)
    execution, calls, took = run_with(client, client.limits, until=lambda: hanging.asked > 0)
    assert took < LATE
    assert (execution.stop_reason, [call.outcome for call in calls]) == ("disconnect", ["stopped"])


def test_look_ups_that_hang_are_bounded(hanging: Hanging) -> None:
    limits = Limits(time=0.05)
    client = Client(Policy(["name.test"]), limits, 1, lookup=hanging)
    for _ in range(64):
        assert run_with(client, limits)[0].stop_reason == "time"
    execution, calls, _ = run_with(client, Limits())
    assert execution.outcome
    assert execution.outcome.code == 11
    assert (calls[0].outcome, "too many names" in calls[0].reason) == ("failed", True)
    assert hanging.asked == 64


@pytest.mark.parametrize("error", [OSError("no"), UnicodeError("no")], ids=["os", "unicode"])
def test_a_look_up_that_fails_oddly_is_not_waited_for(error: Exception) -> None:
    def fail(_name: str) -> list[str]:
        raise error

    client = Client(Policy(["name.test"]), Limits(), 1, lookup=fail)
    execution, calls, took = run_with(client, client.limits)
    assert took < LATE
    assert execution.outcome
    assert (execution.outcome.code, calls[0].outcome) == (11, "failed")


def test_a_name_without_address() -> None:
    client = Client(Policy(["name.test"]), Limits(), 1, lookup=lambda _name: [])
    execution, calls, _ = run_with(client, client.limits)
    assert execution.outcome
    assert (execution.outcome.code, calls[0].reason) == (11, "name.test has no address")
