"""The HTTP session with a registry: retries, timeouts, redirects, logging."""

from __future__ import annotations

import contextlib
import email.utils
import gc
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.clock import assert_within
from tests.support.fault_proxy import Answer, FaultProxy, endless, refusing
from tests.support.registry import write_authority
from tests.support.repositories import module, own_home, repository  # noqa: F401
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.endpoint import RegistryEndpoint
from wagi_gateway.sources.oci.errors import Invalid, RegistryError, Unreachable
from wagi_gateway.sources.oci.repository import Repository
from wagi_gateway.sources.oci.retry import RetryPolicy
from wagi_gateway.sources.oci.session import LOGGERS, RegistrySession

pytestmark = pytest.mark.usefixtures("own_home")
MANIFEST = b'{"schemaVersion": 2}'


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    """A server without a registry: faults are its only responses."""
    with FaultProxy() as running:
        yield running


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Records the pauses between attempts instead of sleeping."""
    pauses: list[float] = []
    monkeypatch.setattr(RegistrySession, "pause", lambda _session, seconds: pauses.append(seconds))
    return pauses


def manifest(*_: object) -> Answer:
    return Answer(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, MANIFEST)


def every(_: object) -> bool:
    return True


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_temporary_error_is_retried(server: FaultProxy, status: int, slept: list[float]) -> None:
    server.fault(every, refusing(status), times=3).fault(every, manifest)
    with repository(server.address, backoff=0.5) as own:
        assert own.resolve("1")[1] == MANIFEST
    assert len(server.received) == 4
    assert [round(pause / expected) for pause, expected in zip(slept, (0.5, 1, 2), strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_permanent_error_is_not_retried(server: FaultProxy, status: int) -> None:
    server.fault(every, refusing(status))
    with repository(server.address) as own, pytest.raises(RegistryError):
        own.resolve("1")
    assert len(server.received) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_are_bounded(server: FaultProxy, retries: int, slept: list[float]) -> None:
    server.fault(every, refusing(503, b'{"errors":[{"code":"BUSY","message":"later"}]}'))
    with (
        repository(server.address, retries=retries) as own,
        pytest.raises(Unreachable, match=r"503 .*, BUSY: later; try"),
    ):
        own.resolve("1")
    assert (len(server.received), len(slept)) == (retries + 1, retries)


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7", 7),
        ("3600", 30),
        ("9" * 5000, 0),
        ("-1", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Foo 9999 99:99:99 GMT", 0),
    ],
)
def test_retry_after(server: FaultProxy, header: str, pause: float, slept: list[float]) -> None:
    server.fault(every, refusing(429, Retry_After=header), times=1).fault(every, manifest)
    with repository(server.address) as own:
        own.resolve("1")
    assert slept == [pytest.approx(pause, abs=0.1)]


def test_a_cancelled_pull_ends_its_pause(server: FaultProxy) -> None:
    server.fault(every, refusing(429, Retry_After="20"))
    over = threading.Event()
    threading.Timer(0.1, over.set).start()
    start = time.monotonic()
    access = RegistryEndpoint(server.address, is_plain=True)
    with (
        Repository(ImageReference.parse(f"{server.address}/hello"), access, cancelled=over) as own,
        pytest.raises(Unreachable, match="it was given up"),
    ):
        own.resolve("1")
    assert time.monotonic() - start < 5
    assert len(server.received) == 1


def test_retry_after_a_date(server: FaultProxy, slept: list[float]) -> None:
    server.fault(every, refusing(503, Retry_After=email.utils.formatdate(time.time() + 9, usegmt=True)), times=1)
    server.fault(every, manifest)
    with repository(server.address) as own:
        own.resolve("1")
    assert slept == [pytest.approx(8.5, abs=1)]


def test_no_wait_beyond_the_end(server: FaultProxy, slept: list[float]) -> None:
    server.fault(every, refusing(429, Retry_After="20"))
    with repository(server.address, answer_time=10) as own, pytest.raises(Unreachable, match="429 Too Many Requests"):
        own.resolve("1")
    assert (len(server.received), slept) == (1, [])


def test_a_registry_that_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry refuses connections until it has started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    pauses: list[float] = []
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:

        def start(_session: RegistrySession, pause: float) -> None:
            pauses.append(pause)
            if len(pauses) == 2:
                listener = stack.enter_context(socket.create_server((host, int(port))))
                stack.callback(serve(listener, ok()).join)

        monkeypatch.setattr(RegistrySession, "pause", start)
        with repository(address) as own:
            assert own.resolve("1")[1] == MANIFEST


def ok() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(MANIFEST), MANIFEST)


def serve(listener: socket.socket, *answers: bytes | Callable[[socket.socket], None]) -> threading.Thread:
    """Answers successive connections with raw bytes."""

    def run() -> None:
        for answer in answers:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    answer(connection) if callable(answer) else connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@contextlib.contextmanager
def raw(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers with these bytes, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = serve(listener, *answers)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def dripping(head: bytes) -> Callable[[socket.socket], None]:
    """Sends an endless header, byte by byte, until the client closes."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.settimeout(0.02)
        while True:
            with contextlib.suppress(TimeoutError):
                if connection.recv(1) == b"":
                    return
            connection.sendall(b"x")

    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HT",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 503 No\r\n\r\n",
    ],
    ids=["header", "status-line", "chunk", "refusal"],
)
def test_a_slow_answer_does_not_outlive_its_time(head: bytes) -> None:
    """A timeout of each read does not bound the whole response."""
    with raw(dripping(head)) as address, repository(address, answer_time=0.3, retries=0) as own:
        start = time.monotonic()
        with pytest.raises(Unreachable, match=r"took longer than the 0\.3 s|answers 503"):
            own.resolve("1")
        assert_within(time.monotonic() - start, 2)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "the connection to 127.* was lost"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the connection to 127.* was lost"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n", "the connection to 127.* was lost"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "the connection to 127.* was lost"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "stopped in the middle of the manifest"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab", "was lost|stopped"),
    ],
    ids=["nothing", "ssh", "long-header", "many-headers", "chunks", "two-lengths"],
)
def test_nonsense(answer: bytes, what: str) -> None:
    with raw(answer) as address, repository(address, retries=0) as own, pytest.raises(Unreachable, match=what):
        own.resolve("1")


def test_silence() -> None:
    def silent(connection: socket.socket) -> None:
        connection.recv(1)  # until the client has gone

    with (
        raw(silent) as address,
        repository(address, stall_time=0.1, retries=0) as own,
        pytest.raises(Unreachable, match=r"did not answer within 0\.1 s"),
    ):
        own.resolve("1")


def test_redirects_end(server: FaultProxy) -> None:
    server.fault(every, lambda request, proxy: Answer(302, {"Location": f"{proxy.url}{request.path}"}))
    with repository(server.address) as own, pytest.raises(Unreachable, match="redirects too often"):
        own.resolve("1")
    assert len(server.received) == 6


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://", "//", "http://[", "\x7f"])
def test_redirects_to_nowhere(server: FaultProxy, location: str) -> None:
    server.fault(
        every, lambda request, _: Answer(302, {"Location": location}) if request.path[-1] == "1" else Answer(404)
    )
    with repository(server.address, retries=0) as own, pytest.raises(RegistryError):
        own.resolve("1")


def test_a_redirect_with_an_endless_body(server: FaultProxy) -> None:
    """requests by itself reads the whole body before it follows a redirect."""

    def redirect(*arguments: object) -> Answer:
        answer = endless(*arguments)  # type: ignore[arg-type]
        answer.status, answer.headers = 302, {"Location": "/elsewhere"}
        return answer

    server.fault(every, redirect, times=1).fault(every, manifest)
    with repository(server.address) as own:
        assert own.resolve("1")[1] == MANIFEST


def test_a_refusal_with_an_endless_body(server: FaultProxy) -> None:
    def refusal(*arguments: object) -> Answer:
        answer = endless(*arguments)  # type: ignore[arg-type]
        answer.status = 404
        return answer

    server.fault(every, refusal)
    with repository(server.address) as own, pytest.raises(RegistryError, match="404 Not Found"):
        own.resolve("1")


def test_no_way_back_from_https(tmp_path: Path, server: FaultProxy) -> None:
    ca_file = write_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with FaultProxy(tls=context) as secure:
        secure.fault(lambda request: request.method == "GET", refusing(307, Location=f"{server.url}/x"))
        secure.fault(lambda request: request.method == "HEAD", refusing(404))
        secure.fault(lambda request: request.method == "POST", refusing(202, Location=f"{server.url}/x"))
        with repository(secure.address, ca_file=ca_file) as own:
            with pytest.raises(Invalid, match="redirects from https to http"):
                own.resolve("1")
            with pytest.raises(Invalid, match="sends an upload from https to http"):
                own.push_module(module())
    assert not server.received


def test_a_push_that_is_repeated_is_whole(server: FaultProxy) -> None:
    """A retry sends the whole body."""
    server.fault(lambda request: request.method == "HEAD", refusing(404))
    server.fault(lambda request: request.method == "POST", refusing(202, Location="/upload"))
    server.fault(lambda request: request.path.startswith("/upload"), refusing(503), times=2)
    server.fault(lambda request: request.method == "PUT", refusing(201))
    data = module(1, 200_000)
    with repository(server.address) as own:
        own.push_module(data)
    uploads = [request.body for request in server.received if request.path.startswith("/upload")]
    assert uploads[:3] == [data] * 3


def test_a_push_to_a_server_that_does_not_read() -> None:
    """The deadline bounds an upload as a whole."""
    stop = threading.Event()

    def unread(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 202 OK\r\nLocation: /upload\r\nContent-Length: 0\r\n\r\n")
        stop.wait(10)

    with raw(unread) as address, repository(address, transfer_time=0.5, retries=0) as own:
        try:
            with pytest.raises(Unreachable, match=r"took longer than the 0\.5 s"):
                own.push_module(module(1, 20 << 20))
        finally:
            stop.set()


def test_a_push_over_a_slow_line() -> None:
    """The stall time bounds each piece of an upload, not the whole."""
    data, arrived, pause = module(1, 16 << 20), bytearray(), threading.Event()

    def slow_reader(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 202 OK\r\nLocation: /upload\r\nContent-Length: 0\r\n\r\n")
        while piece := connection.recv(1 << 18):
            arrived.extend(piece)
            pause.wait(0.02)  # 16 MiB in more than a second
            if arrived.endswith(data[-100:]):
                return

    with (
        raw(slow_reader) as address,
        repository(address, connect_time=0.3, stall_time=0.3, retries=0) as own,
        pytest.raises(Unreachable),  # the push gets no response
    ):
        own.push_module(data)
    assert arrived.endswith(data)


def test_a_stalled_manifest(server: FaultProxy) -> None:
    server.fault(every, lambda _, proxy: Answer(200, {}, stalled_body(proxy), 100))
    with repository(server.address, stall_time=0.1) as own, pytest.raises(Unreachable, match="stopped in the middle"):
        own.resolve("1")


def stalled_body(proxy: FaultProxy) -> Iterator[bytes]:
    yield b"{"
    proxy.ending.wait()


def test_the_environment_of_the_system_is_honoured(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fault(every, manifest)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    with repository("registry.example", is_plain=True) as own:
        assert own.resolve("1")[1] == MANIFEST
    assert server.received[0].path.startswith("http://registry.example/v2/team/hello/")
    monkeypatch.setenv("HTTP_PROXY", "http://user:SECRET@127.0.0.1:1")
    own = repository("registry.example", is_plain=True, retries=0)
    with own, pytest.raises(Unreachable, match=r"the proxy for registry\.example cannot be used") as raised:
        own.resolve("1")
    assert "SECRET" not in str(raised.value)


def test_a_loopback_registry_is_not_reached_by_a_proxy(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Go's net/http does: the proxy would see the password."""
    server.fault(every, manifest)
    with FaultProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        with repository(server.address) as own:
            assert own.resolve("1")[1] == MANIFEST
    assert not proxy.received


def test_the_password_of_a_proxy_is_for_the_proxy(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fault(every, manifest)
    with FaultProxy() as proxy:
        proxy.fault(every, refusing(307, Location=f"{server.url}/x"))
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:SECRET@"))
        monkeypatch.setenv("NO_PROXY", "")
        with repository("registry.example", is_plain=True) as own:
            assert own.resolve("1")[1] == MANIFEST
    assert [("proxy-authorization" in each.headers) for each in (*proxy.received, *server.received)] == [True, False]


def test_cookies_are_not_kept(server: FaultProxy) -> None:
    """Harbor treats a client with cookies as a browser."""
    server.fault(every, lambda *_: Answer(200, {"Set-Cookie": "a=b"}, MANIFEST))
    with repository(server.address) as own:
        own.resolve("1")
        own.resolve("1")
    assert "cookie" not in server.received[1].headers


@pytest.mark.parametrize(("attempt", "pause"), [(0, 0.5), (1, 1), (4, 8), (60, 8)])
def test_back_off(attempt: int, pause: float) -> None:
    assert RetryPolicy().pause(attempt) == pytest.approx(pause, rel=0.21)


def test_the_first_time_is_up_before_it_begins() -> None:
    with (
        RegistrySession(RetryPolicy(), None) as session,
        session.deadline.within(0),
        pytest.raises(requests.exceptions.Timeout),
    ):
        session.get("http://127.0.0.1:1/")


def logged(caplog: pytest.LogCaptureFixture) -> set[str]:
    """The loggers whose records are not dropped."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        for name in (*LOGGERS, "urllib3.other"):
            logging.getLogger(name).critical("a URL with a signature")
    return {record.name for record in caplog.records}


def test_foreign_loggers_are_muted_while_a_session_is_open(caplog: pytest.LogCaptureFixture) -> None:
    everything = {*LOGGERS, "urllib3.other"}
    gc.collect()  # sessions of other tests that were not closed
    assert logged(caplog) == everything
    with RegistrySession(RetryPolicy(), None):
        with RegistrySession(RetryPolicy(), None):
            assert logged(caplog) == {"urllib3.other"}
        assert logged(caplog) == {"urllib3.other"}
    assert logged(caplog) == everything


def test_a_session_that_is_not_closed_does_not_mute_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    session = RegistrySession(RetryPolicy(), None)
    assert logged(caplog) == {"urllib3.other"}
    del session
    gc.collect()
    assert logged(caplog) == {*LOGGERS, "urllib3.other"}
