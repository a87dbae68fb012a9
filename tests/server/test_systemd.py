"""Notifications of a service manager (sd_notify) on a socket like systemd's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import START, running, wait_until
from tests.support import guests
from tests.support.config import guest
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.server import systemd as notify

CONFIG = guest("/hello", "hello")


@contextmanager
def service_manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(START)
        yield manager


@contextmanager
def service(directory: Path, cache: Path, name: str, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway from its first notification on; its sockets are `wagi.sock` and `admin.sock`."""
    (directory / "hello.wat").write_text(guests.HELLO)
    (directory / "modules.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(directory / "modules.toml")]
    command += ["--workers", str(workers), "--cache-dir", str(cache)]
    command += ["--uds", str(directory / "wagi.sock"), "--admin", f"unix:{directory}/admin.sock"]
    environment = os.environ | {"NOTIFY_SOCKET": name}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


def ask(path: Path, target: str) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), trust_env=False) as client:
        return client.get(f"http://localhost{target}")


def children(process: subprocess.Popen[bytes]) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(("workers", "is_abstract"), [(1, False), (2, True)], ids=["one", "two-abstract"])
def test_ready_and_stopping_are_notified(tmp_path: Path, cache: Path, workers: int, is_abstract: bool) -> None:
    name = str(uuid.uuid4()) if is_abstract else str(tmp_path / "notify")
    with (
        service_manager("\0" + name if is_abstract else name) as manager,
        service(tmp_path, cache, "@" + name if is_abstract else name, workers) as process,
    ):
        assert manager.recv(100) == b"READY=1"
        assert ask(tmp_path / "admin.sock", "/readyz").text == "OK"  # `ready` counts the workers that serve
        assert ask(tmp_path / "wagi.sock", "/hello").text == "hello world\n"
        for child in children(process):
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(START) == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):  # once for each worker
            manager.recv(100)


def test_a_worker_that_dies_first_does_not_delay_the_ready_notification(tmp_path: Path, cache: Path) -> None:
    name = str(tmp_path / "notify")
    with service_manager(name) as manager, service(tmp_path, cache, name, 2) as process:
        wait_until(lambda: len(children(process)) > 1, START)
        os.kill(children(process)[-1], signal.SIGKILL)
        assert manager.recv(100) == b"READY=1"
        assert ask(tmp_path / "admin.sock", "/readyz").text == "OK"


def test_a_missing_service_manager_does_not_stop_the_server(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    with running(tmp_path, CONFIG, cache=cache, environment={"NOTIFY_SOCKET": "/nowhere/notify"}) as server:
        assert server.get("/hello").status_code == 200
        what = "the service manager cannot be told READY=1: No such file or directory"
        server.wait_for_log(f"WARNING NOTIFY_SOCKET = '/nowhere/notify': {what}")


@pytest.mark.parametrize("name", ["vsock:2:1", "relative", "@" + "a" * 200, "/" + "a" * 200])
def test_an_address_that_is_none(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    tell = notify.service_manager()
    assert "NOTIFY_SOCKET" not in os.environ
    tell(notify.READY)
    assert f"NOTIFY_SOCKET = '{name}'" in caplog.text


def test_without_a_service_manager_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.service_manager()(notify.READY)
    assert caplog.text == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_is_notified_with_its_outcome(tmp_path: Path, cache: Path, workers: int) -> None:
    name = str(tmp_path / "notify")
    with service_manager(name) as manager, service(tmp_path, cache, name, workers) as process:
        assert manager.recv(100) == b"READY=1"
        for config, status in (
            (CONFIG, b"Serving 1 module"),
            (CONFIG.replace("/hello", "no path"), b"Reload refused, the previous configuration is served: "),
        ):
            (tmp_path / "modules.toml").write_text(config)
            signalled = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            process.send_signal(signal.SIGHUP)
            state, _, at = manager.recv(1000).partition(b"\nMONOTONIC_USEC=")
            assert state == b"RELOADING=1"
            assert signalled <= int(at) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert manager.recv(1000).startswith(b"READY=1\nSTATUS=" + status)
        process.terminate()
        assert manager.recv(100) == b"STOPPING=1"


def test_a_status_is_one_short_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with service_manager(name) as manager:
        problems = [Problem("a\nREADY=0", "\x1b" * 600), Problem("b", "c")]
        notify.ServiceManager().on_reload(None, StartupError(*problems))
        ready, _, status = manager.recv(10000).partition(b"\n")
    assert ready == b"READY=1"
    assert b"a READY=0: \\x1b" in status
    assert b"\n" not in status
    assert len(status) <= 507
