"""Calls that end early: by the guest's deadline, the client's disconnect, the server's shutdown."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running, wait_until
from tests.support import guests
from tests.support.clients import guest_that_calls, run_alone
from tests.support.clock import assert_soon, assert_within
from tests.support.config import config, module
from tests.support.farm import Raw, Target, full_backlog, silent
from tests.support.neighbours import others_answered
from tests.system.outbound.conftest import Lab
from wagi_gateway.app import create_app
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.policy import Policy

TIME = 0.5
"""`limits.time` of the hasty route."""
LATE = 1.0
"""Seconds within which a call must end."""


def interim(connection: socket.socket) -> None:
    """Endless interim responses."""
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 2000)


def framing(connection: socket.socket) -> None:
    """An endless chunked body that consists mostly of chunk extensions."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        connection.sendall((b"1;" + b"x" * 500 + b"\r\na\r\n") * 200)


def half(connection: socket.socket) -> None:
    """The first half of a response head."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-le")


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway, and servers that respond slowly, incompletely or not at all."""

    gateway: Server
    target: Target
    secure: Target
    raws: dict[str, Raw]
    blackhole: str

    def url(self, name: str) -> str:
        """The URL of a kind of wait."""
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
        """The number of connections of a kind that the gateway has closed."""
        if name in ("slow", "drip"):
            return self.target.hung_up
        if name.startswith("secure"):
            return self.secure.hung_up
        return self.raws["silent" if name == "handshake" else name].hung_up

    def asked(self, name: str) -> int:
        """The number of connections or requests of a kind."""
        if name in ("slow", "drip"):
            return len(self.target.requests)
        if name.startswith("secure"):
            return len(self.secure.requests)
        return self.raws["silent" if name == "handshake" else name].accepted


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    (lab.directory / "hello.wat").write_text(guests.HELLO)
    raws = {answer.__name__: Raw(answer) for answer in (silent, interim, framing, half)}
    for raw in raws.values():
        lab.stack.callback(raw.close)
    target, secure = lab.target(), lab.target(lab.authority.issue_cert("127.0.0.1"))
    blackhole = lab.stack.enter_context(full_backlog())
    allowed = [target.url, secure.url, blackhole, *(raw.url for raw in raws.values())]
    allowed.append(raws["silent"].url.replace("http", "https"))
    modules = [
        module(f"/{route}", caller, allowed_hosts=allowed, limits={"time": limit, "concurrency": 1})
        for route, limit in (("hasty", f"{TIME * 1000:.0f}ms"), ("patient", "20s"))
    ]
    gateway = lab.serve(config(module("/hello", "hello.wat"), *modules, outbound={"ca_file": "ca.pem"}))
    # The first handshake reads the system's authorities.
    gateway.post("/patient", f"req GET {secure.url}/hello".encode())
    return Site(gateway, target, secure, raws, blackhole)


WAITS = ["slow", "drip", "secure-slow", "secure-drip", "silent", "half", "handshake"]
FLOODS = ["interim", "framing"]


def lines(url: str) -> bytes:
    """The input of `caller.wasm` for a call that reads the whole response."""
    return f"req GET {url}\ndrain 1000000".encode()


def is_free(site: Site, route: str) -> None:
    """Fails unless a route with `concurrency = 1` serves the next request at once."""
    begin = time.monotonic()
    assert site.gateway.post(route, b"").status_code == 200
    assert_within(time.monotonic() - begin, LATE)


@pytest.mark.parametrize("name", [*WAITS, *FLOODS, "connect"])
def test_the_guests_deadline_ends_its_call(site: Site, name: str) -> None:
    hung_up = 0 if name == "connect" else site.hung_up(name)
    with others_answered(site.gateway):
        begin = time.monotonic()
        response = site.gateway.post("/hasty", lines(site.url(name)))
        took = time.monotonic() - begin
        assert response.status_code == 504
        assert took >= TIME
        assert_within(took - TIME, LATE)
        is_free(site, "/hasty")
    if name != "connect":
        assert_soon(lambda: site.hung_up(name) > hung_up, LATE)
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
        assert_soon(lambda: site.hung_up(name) > hung_up, 2 * LATE)
        is_free(site, "/patient")
    site.gateway.wait_for_log(rf"POST /patient\?{name} status=499")


@pytest.mark.parametrize("name", ["slow", "drip", "handshake"])
def test_the_end_of_the_server_ends_the_call(site: Site, name: str, tmp_path: Path, cache: Path, caller: Path) -> None:
    allowed = [site.target.url, site.raws["silent"].url.replace("http", "https")]
    text = config(module("/caller", caller, allowed_hosts=allowed), server={"shutdown_grace": "1s"})
    asked, hung_up = site.asked(name), site.hung_up(name)
    with running(tmp_path, text, cache=cache) as gateway, gateway.connect() as client:
        body = lines(site.url(name))
        head = f"POST /caller HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_until(lambda: site.asked(name) > asked)
        begin = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        assert_within(time.monotonic() - begin, 1.0 + 2 * LATE)
        assert_soon(lambda: site.hung_up(name) > hung_up, LATE)
        assert "Traceback" not in gateway.log


def test_waiting_guests_block_no_other_request(site: Site, tmp_path: Path, cache: Path, caller: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    text = module("/hello", "hello.wat")
    text += module("/caller", caller, allowed_hosts=[site.target.url], limits={"concurrency": 64})
    asked, hung_up = site.asked("slow"), site.hung_up("slow")
    with running(tmp_path, text, cache=cache) as gateway:
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


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def test_a_guest_that_connects_without_end_is_stopped(site: Site, tmp_path: Path, cache: Path) -> None:
    again = "(loop $forever (drop (call $call)) (br $forever))"
    (tmp_path / "caller.wat").write_text(guest_that_calls(f"{site.target.url}/drip".encode(), then=again))
    text = module("/caller", "caller.wat", allowed_hosts=[site.target.url], http_max_concurrency=250)
    hung_up = site.hung_up("drip")
    with running(tmp_path, text, cache=cache, preexec=few_descriptors) as gateway:
        before = gateway.descriptors()
        assert gateway.get("/caller").status_code == 503
        gateway.wait_for_log(r"503: the server ran out of descriptors.* route=/caller")
        wait_until(lambda: gateway.descriptors() <= before + 8)
        assert gateway.get("/healthz").status_code == 200
    wait_until(lambda: site.hung_up("drip") > hung_up + 50)


def test_connections_that_were_kept_end_with_the_server(tmp_path: Path, caller: Path) -> None:
    def answer(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def main() -> None:
        app = create_app(path)
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
            for _ in range(2):
                response = await client.post("http://h/caller", content=f"req GET {target.url}/")
                assert response.text == "req 0 200 0\n"
            assert (target.accepted, target.hung_up) == (1, 0)
        # The application still runs, so only the gateway can have closed the connections.
        await asyncio.to_thread(wait_until, lambda: target.hung_up == 1)

    with Raw(answer) as target:
        path = tmp_path / "modules.toml"
        calling = module("/caller", caller, allowed_hosts=[target.url])
        path.write_text(config(calling, cache={"directory": "cache"}))
        asyncio.run(main())


# No server can make a look-up hang, so these tests run a guest in this process.

CALLER = guest_that_calls(b"http://name.test/")


@dataclass(slots=True)
class Hanging:
    """A resolver that returns only at the end of the test."""

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
    own = Limits.model_validate(limits)
    client = OutboundClient(Policy(["name.test"]), own, 1, lookup=hanging)
    guest, calls, took = run_alone(CALLER, client, own)
    assert took >= 0.3
    assert_within(took - 0.3, LATE)
    assert [(call.outcome, call.origin) for call in calls] == [(outcome, "http://name.test")]
    assert reason in calls[0].reason
    assert guest.stop_reason == ("time" if outcome == "stopped" else None)
    if not guest.stop_reason:
        assert guest.outcome
        assert guest.outcome.code == 11


def test_a_look_up_that_hangs_ends_with_the_client(hanging: Hanging) -> None:
    client = OutboundClient(Policy(["name.test"]), Limits(), 1, lookup=hanging)
    guest, calls, took = run_alone(CALLER, client, Limits(), until=lambda _: hanging.asked > 0)
    assert_within(took, LATE)
    assert (guest.stop_reason, [call.outcome for call in calls]) == ("disconnect", ["stopped"])


def test_look_ups_that_hang_are_bounded(hanging: Hanging) -> None:
    limits = Limits(time=0.05)
    client = OutboundClient(Policy(["name.test"]), limits, 1, lookup=hanging)
    for _ in range(64):
        assert run_alone(CALLER, client, limits)[0].stop_reason == "time"
    guest, calls, _ = run_alone(CALLER, client, Limits())
    assert guest.outcome
    assert guest.outcome.code == 11
    assert (calls[0].outcome, "too many names" in calls[0].reason) == ("failed", True)
    assert hanging.asked == 64


@pytest.mark.parametrize("error", [OSError("no"), UnicodeError("no")], ids=["os", "unicode"])
def test_a_look_up_that_fails_oddly_is_not_waited_for(error: Exception) -> None:
    def fail(_name: str) -> list[str]:
        raise error

    client = OutboundClient(Policy(["name.test"]), Limits(), 1, lookup=fail)
    guest, calls, took = run_alone(CALLER, client, Limits())
    assert_within(took, LATE)
    assert guest.outcome
    assert (guest.outcome.code, calls[0].outcome) == (11, "failed")


def test_a_name_without_address() -> None:
    client = OutboundClient(Policy(["name.test"]), Limits(), 1, lookup=lambda _name: [])
    guest, calls, _ = run_alone(CALLER, client, Limits())
    assert guest.outcome
    assert (guest.outcome.code, calls[0].reason) == (11, "name.test has no address")
