"""How a server ends, and how it replaces a worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests import guests
from tests.attacks import LOOP, NAP, SLEEP, STREAM, get, module, send, together, wait_for_work
from tests.conftest import Serve, Server, wait_until


def test_a_request_in_flight_outlives_sigterm(serve: Serve) -> None:
    server = serve(module("/nap", "nap"), nap=NAP)
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
    server = serve('[server]\nshutdown_grace = "1s"\n' + module("/hold", "hold", time="1h"), hold=attack)
    with send(server, get("/hold?now")) as connection:
        wait_for_work(server, "/hold")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert server.process.wait(10) == 0
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
