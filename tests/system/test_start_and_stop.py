"""The shutdown of a server, and the replacement of a worker."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Server, wait_until
from tests.support import guests
from tests.support.attacks import LOOP, NAP, SLEEP, STREAM, get, send, together, wait_for_work
from tests.support.clock import assert_within
from tests.support.config import guest
from tests.support.http_client import is_whole_hello
from tests.support.processes import children, workers


def test_a_request_in_flight_outlives_sigterm(serve: Serve) -> None:
    server = serve(guest("/nap", "nap"), nap=NAP)
    with send(server, get("/nap?now")) as connection:
        wait_for_work(server, "/nap")
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith((b"\r\n\r\nhello\n", b"\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n"))
    assert server.process.wait(10) == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("attack", [LOOP, SLEEP, STREAM], ids=["loop", "sleep", "stream"])
def test_a_guest_that_does_not_end_does_not_outlive_the_grace(serve: Serve, attack: str) -> None:
    server = serve('[server]\nshutdown_grace = "1s"\n' + guest("/hold", "hold", time="1h"), hold=attack)
    with send(server, get("/hold?now")) as connection:
        wait_for_work(server, "/hold")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert server.process.wait(10) == 0
        assert_within(time.monotonic() - begin, 5)
    assert answer.startswith(b"HTTP/1.1 200 " if attack is STREAM else b"HTTP/1.1 503 ")
    assert not answer.endswith(b"\r\n0\r\n\r\n")
    assert "Traceback" not in server.log


def test_a_request_on_its_way_outlives_sigterm(serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), hello=guests.HELLO)
    with server.connect() as connection:
        connection.sendall(get("/hello"))
        first = b""
        while not is_whole_hello(first):
            first += connection.recv(65536)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(server))
        connection.sendall(get("/hello"))
        second = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"connection: close" not in first.lower()
    assert second.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in second.lower()
    assert server.process.wait(10) == 0


def accepts(server: Server) -> bool:
    """Whether a connection is accepted."""
    try:
        server.connect().close()
    except OSError:
        return False
    return True


def test_a_worker_that_dies_is_replaced(serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), "--workers", "2", hello=guests.HELLO)
    before = workers(server)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(workers(server) - before) == 1 and len(workers(server)) == 2)
    answers = together(8, lambda _: httpx.get(f"{server.url}/hello", trust_env=False, timeout=30).text)
    assert answers == ["hello world\n"] * 8
    assert "Traceback" not in server.log


def test_a_worker_that_does_not_start_is_tried_again(serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), "--workers", "2", hello=guests.HELLO)
    before = workers(server)
    hello = server.log_path.parent / "hello.wat"
    hello.write_text("(module")
    os.kill(min(before), signal.SIGKILL)
    server.wait_for_log("ended with 3; another one takes its place")
    assert server.get("/hello").text == "hello world\n"
    hello.write_text(guests.HELLO)
    wait_until(lambda: len(workers(server)) == 2, timeout=20)
    assert server.process.poll() is None


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_hangup_ends_the_server_when_its_terminal_was_closed(count: str, tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text("[cache]\nenabled = false\n" + guest("/hello", "hello"))
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(tmp_path / "modules.toml"), "--workers", count]
    command += ["--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout
        assert server.stderr
        try:
            assert any(line.startswith("Ready: ") for line in server.stdout)
            server.send_signal(signal.SIGHUP)  # by an operator
            assert any("reloaded: 1 route " in line for line in server.stderr)
            server.send_signal(signal.SIGHUP)  # by a shell at its end
            os.close(controller)
            assert server.wait(10) == 0
        finally:
            server.kill()
    os.close(terminal)


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_second_signal_stops_at_once(count: str, serve: Serve) -> None:
    server = serve(guest("/hold", "hold", time="1h"), "--workers", count, hold=SLEEP)
    with send(server, get("/hold?now")) as connection:
        wait_for_work(server, "/hold")
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: not accepts(server))
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in server.log


def test_a_worker_that_hangs_does_not_keep_the_others(serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), "--workers", "2", hello=guests.HELLO)
    hung = min(workers(server))
    os.kill(hung, signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(workers(server)) == 1)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0
    assert f"worker {hung} does not end; it is killed" in server.log


@pytest.mark.parametrize("count", ["1", "2"])
def test_signals_of_other_servers_are_ignored(count: str, serve: Serve) -> None:
    server = serve(guest("/hello", "hello"), "--workers", count, hello=guests.HELLO)
    before = children(server)
    for pid in {server.process.pid, *before}:
        for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("reloaded: ")
    assert children(server) == before
    assert server.get("/hello").text == "hello world\n"


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_quit_is_a_stop(count: str, serve: Serve) -> None:
    slow = guests.sleeps(500_000_000, guests.CONTENT_TYPE + b"from the beginning ", b"to the end\n")
    server = serve(guest("/slow", "slow"), "--workers", count, slow=slow)
    with server.client.stream("GET", f"{server.url}/slow") as response:
        for pid in {server.process.pid, *workers(server)}:
            os.kill(pid, signal.SIGQUIT)
        assert response.read() == b"from the beginning to the end\n"
    assert server.process.wait(10) == 0
