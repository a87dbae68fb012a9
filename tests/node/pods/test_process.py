"""The process of a Pod."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.support.pods import until
from wagi_gateway.node.pods.process import UNKNOWN_EXIT, PodProcess, start_time

pytestmark = pytest.mark.timeout(300)


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"])


def parent(pid_file: Path) -> subprocess.Popen[bytes]:
    """A process with a child, whose pid is in the file."""
    return subprocess.Popen(["/bin/sh", "-c", 'sleep 300 & echo $! >"$0"; wait', str(pid_file)], start_new_session=True)


def test_its_children_end_with_it(tmp_path: Path) -> None:
    """A gateway that is killed leaves no compilation behind, which would hold its socket."""
    pid_file = tmp_path / "pid"

    async def story() -> tuple[int, int]:
        with parent(pid_file) as child:
            process = PodProcess(child.pid, os.pidfd_open(child.pid), is_child=True)
            await until(lambda: pid_file.exists() and bool(pid_file.read_text()))
            os.kill(child.pid, signal.SIGKILL)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - at once
            process.ended(7)
            assert process.has_exited
            process.terminate()
            process.kill()
            return await process.wait(), int(pid_file.read_text())

    code, pid = asyncio.run(story())
    assert code == 7
    wait_until(lambda: start_time(pid) == 0)


def test_the_children_of_an_adopted_process_end_with_it(tmp_path: Path) -> None:
    """Whoever waits for it, and however soon."""
    pid_file = tmp_path / "pid"

    async def story() -> int:
        with parent(pid_file) as child:
            await until(lambda: pid_file.exists() and bool(pid_file.read_text()))
            process = PodProcess.adopt(child.pid, start_time(child.pid))
            assert process
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            assert await process.wait() == UNKNOWN_EXIT
        return int(pid_file.read_text())

    pid = asyncio.run(story())
    wait_until(lambda: start_time(pid) == 0)


def test_the_exit_code_of_an_orphan_is_not_known() -> None:
    async def story() -> None:
        with sleeper() as child:
            process = PodProcess(child.pid, os.pidfd_open(child.pid), is_child=True)
            process.orphaned()
            process.terminate()
            assert (await process.wait(), process.is_child) == (UNKNOWN_EXIT, False)
            assert start_time(child.pid) == 0

    asyncio.run(story())


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


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) == 0
    child.wait()
    assert start_time(child.pid) == 0
