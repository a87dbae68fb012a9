"""The process of a Pod."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.pods import until
from wagi_gateway.node.pods.process import STARTUP_FAILED, UNKNOWN_EXIT, PodProcess, start_time, tail
from wagi_gateway.node.unix_socket import listening_at

pytestmark = pytest.mark.timeout(300)


def test_a_refused_configuration_ends_the_process_and_its_log_says_why(tmp_path: Path) -> None:
    (tmp_path / "modules.toml").write_text("nonsense")

    async def story() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener, listening_at(tmp_path / "admin.sock") as admin:
            process = PodProcess.start(tmp_path / "modules.toml", listener, tmp_path / "log", admin=admin)
        assert os.getsid(process.pid) == process.pid
        code = await process.wait()
        assert process.has_exited
        process.terminate()
        process.kill()
        process.close()
        return code

    assert asyncio.run(story()) == STARTUP_FAILED
    assert "is not valid TOML" in tail(tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"])


def parent(pid_file: Path) -> subprocess.Popen[bytes]:
    """A process with a child, whose pid is in the file."""
    return subprocess.Popen(["/bin/sh", "-c", 'sleep 300 & echo $! >"$0"; wait', str(pid_file)], start_new_session=True)


def test_a_signal_has_the_exit_code_of_a_shell() -> None:
    async def story() -> int:
        child = sleeper()
        process = PodProcess(child.pid, os.pidfd_open(child.pid), child)
        process.kill()
        return await process.wait()

    assert asyncio.run(story()) == 128 + signal.SIGKILL


def test_its_children_end_with_it(tmp_path: Path) -> None:
    """A gateway that is killed leaves no compilation behind, which would hold its socket."""
    pid_file = tmp_path / "pid"

    async def story() -> int:
        child = parent(pid_file)
        process = PodProcess(child.pid, os.pidfd_open(child.pid), child)
        await until(lambda: pid_file.exists() and bool(pid_file.read_text()))
        os.kill(child.pid, signal.SIGKILL)
        await process.wait()
        return int(pid_file.read_text())

    pid = asyncio.run(story())
    wait_until(lambda: start_time(pid) == 0)


def test_a_process_is_adopted_by_pid_and_start_time() -> None:
    async def story() -> None:
        child = sleeper()
        try:
            started = start_time(child.pid)
            assert PodProcess.adopt(child.pid, started + 1) is None
            process = PodProcess.adopt(child.pid, started)
            assert process is not None
            assert not process.has_exited
            process.terminate()
            assert await process.wait() == UNKNOWN_EXIT
        finally:
            child.kill()
            child.wait()
        assert PodProcess.adopt(child.pid, started) is None

    asyncio.run(story())


def test_the_end_of_a_log(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent") == ""
    (tmp_path / "log").write_bytes(b"x" * 5000 + b"\nlast \xff\n")
    assert tail(tmp_path / "log").endswith("last �")
    assert len(tail(tmp_path / "log")) <= 1500


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) == 0
    child.wait()
    assert start_time(child.pid) == 0
