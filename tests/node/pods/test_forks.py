"""Gateways as processes of a fork server, and the loss of that server."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.support.pods import until
from wagi_gateway.node.pods.forks import ForkFailed, Forks
from wagi_gateway.node.pods.gateway_log import tail
from wagi_gateway.node.pods.process import STARTUP_FAILED, UNKNOWN_EXIT, PodProcess, start_time

pytestmark = pytest.mark.timeout(300)
WAT = '(module (memory (export "memory") 1) (func (export "_start")))'
HELLO = '[[module]]\nroute = "/hello"\nmodule = "hello.wat"\n'


def forking(directory: Path, story: Callable[[Forks], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        forks = Forks(directory)
        try:
            await story(forks)
        finally:
            forks.end()

    asyncio.run(go())


async def serve(forks: Forks, directory: Path, text: str) -> PodProcess:
    """A gateway of a configuration, on a socket of its own."""
    (directory / "modules.toml").write_text(text)
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        command = ("serve", str(directory / "modules.toml"), "--listen", "fd:3", "--admin", "fd:4")
        return await forks.start(command, directory / "log", listeners)


def server_of(process: PodProcess) -> int:
    """The parent of a gateway."""
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


def of_process(process: PodProcess, name: str) -> str:
    """A file of /proc."""
    return Path(f"/proc/{process.pid}/{name}").read_text()


def has_begun(process: PodProcess) -> bool:
    """Whether a gateway has closed the descriptors of its fork server."""
    try:
        links = [os.readlink(one) for one in Path(f"/proc/{process.pid}/fd").iterdir()]
    except FileNotFoundError:  # one is closed meanwhile
        return False
    return os.getsid(process.pid) == process.pid and not any("pidfd" in one for one in links)


def test_a_gateway_has_a_session_standard_streams_and_its_sockets_alone(tmp_path: Path) -> None:
    """And no descriptor of the fork server, which has one of the first gateway when it forks the second."""
    (tmp_path / "hello.wat").write_text(WAT)

    async def story(forks: Forks) -> None:
        first, second = [await serve(forks, tmp_path, HELLO) for _ in range(2)]
        await until(lambda: has_begun(second))
        assert server_of(first) == server_of(second)
        assert str(tmp_path) in of_process(second, "cmdline")
        assert of_process(second, "oom_score_adj") == "500\n"
        links = [os.readlink(f"/proc/{second.pid}/fd/{number}") for number in range(5)]
        assert links[:3] == ["/dev/null", "/dev/null", str(tmp_path / "log")]
        assert all(one.startswith("socket:") for one in links[3:])
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
        second.kill()
        assert await second.wait() == 128 + signal.SIGKILL
        first.terminate()
        assert await first.wait() in (0, 128 + signal.SIGTERM)  # the latter before it has begun to serve
        assert first.is_child

    forking(tmp_path, story)


def test_a_refused_configuration_ends_the_process_and_its_log_says_why(tmp_path: Path) -> None:
    async def story(forks: Forks) -> None:
        process = await serve(forks, tmp_path, "nonsense")
        assert await process.wait() == STARTUP_FAILED
        assert "is not valid TOML" in tail(tmp_path / "log")

    forking(tmp_path, story)


def test_a_machine_without_room_ends_no_fork_server(tmp_path: Path) -> None:
    """The exit codes of the gateways that run would be lost with it."""
    (tmp_path / "hello.wat").write_text(WAT)

    async def story(forks: Forks) -> None:
        first = await serve(forks, tmp_path, HELLO)
        server, limit = server_of(first), resource.RLIMIT_NOFILE
        _, most = before = resource.prlimit(server, limit)
        used = len(os.listdir(f"/proc/{server}/fd"))
        resource.prlimit(server, limit, (used + 1, most))  # a gateway has three descriptors
        with pytest.raises(ForkFailed, match="no process can be started: Too many open files"):
            await serve(forks, tmp_path, HELLO)
        resource.prlimit(server, limit, before)
        second = await serve(forks, tmp_path, HELLO)
        assert (first.is_child, server_of(second)) == (True, server)
        for process in (first, second):
            process.kill()
            assert await process.wait() == 128 + signal.SIGKILL

    forking(tmp_path, story)


def test_gateways_outlive_their_fork_server(tmp_path: Path) -> None:
    """The next gateway has another one."""
    (tmp_path / "hello.wat").write_text(WAT)

    async def story(forks: Forks) -> None:
        first = await serve(forks, tmp_path, HELLO)
        os.kill(server_of(first), signal.SIGKILL)
        await until(lambda: not first.is_child)
        second = await serve(forks, tmp_path, HELLO)
        assert start_time(first.pid)
        assert second.is_child
        for process in (first, second):
            process.kill()
        assert await first.wait() == UNKNOWN_EXIT
        third = await serve(forks, tmp_path, HELLO)
        forks.end()
        assert start_time(third.pid)
        third.kill()
        await third.wait()

    forking(tmp_path, story)


@pytest.mark.parametrize("command", ["exit 0", "sleep 300"], ids=["ends", "is silent"])
def test_a_fork_server_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nexec {command}\n" if "sleep" in command else f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("wagi_gateway.node.pods.forks._START", 0.5)

    async def story(forks: Forks) -> None:
        for _ in range(2):
            with pytest.raises(ForkFailed, match="does not start"):
                await serve(forks, tmp_path, HELLO)
        cancelled = asyncio.create_task(serve(forks, tmp_path, HELLO))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises((asyncio.CancelledError, ForkFailed)):
            await cancelled

    forking(tmp_path, story)


def test_a_fork_server_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that it has forked for no Pod ends with it."""
    monkeypatch.setattr("wagi_gateway.node.pods.forks._ANSWER", 0.5)
    (tmp_path / "hello.wat").write_text(WAT)

    async def story(forks: Forks) -> None:
        first = await serve(forks, tmp_path, HELLO)
        forks._processes.pop(first.pid)  # as if its answer had not arrived
        os.kill(server_of(first), signal.SIGSTOP)
        with pytest.raises(ForkFailed, match="does not answer"):
            await serve(forks, tmp_path, HELLO)
        await until(lambda: start_time(first.pid) == 0)
        second = await serve(forks, tmp_path, HELLO)
        second.kill()
        await second.wait()

    forking(tmp_path, story)


def test_the_id_of_a_fork_server_that_has_been_waited_for_may_be_another_one_s(tmp_path: Path) -> None:
    async def story(forks: Forks) -> None:
        forks.begin()
        assert forks._server
        end(forks._server.pid)
        forks._server.pid = os.getpid()
        forks.end()

    with subprocess.Popen(["sleep", "60"]) as other:
        forking(tmp_path, story)
        assert other.poll() is None
        other.kill()


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_gateways_that_no_pod_knows_are_ended(tmp_path: Path) -> None:
    """Their node was killed between the start of the process and the write of its id."""
    (tmp_path / "hello.wat").write_text(WAT)

    async def story(forks: Forks) -> None:
        known, stray = [await serve(forks, tmp_path, HELLO) for _ in range(2)]
        os.kill(server_of(stray), signal.SIGKILL)
        await until(lambda: not stray.is_child)
        Forks(tmp_path / "other").end_strays(())
        Forks(tmp_path).end_strays([known.pid])
        await stray.wait()
        assert start_time(known.pid)
        known.kill()
        await known.wait()

    forking(tmp_path, story)


def test_what_a_gateway_that_has_ended_left_is_ended(tmp_path: Path) -> None:
    """A compilation holds its listening socket; the fork server stands for it here, whose command line it has."""
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with other:
            gateway = gateway_with_child(other, tmp_path)
        assert gateway.stdout
        with gateway.stdout:
            child = int(gateway.stdout.readline())
        gateway.wait()
        assert ours.recv(100) == b"ready"
        Forks(tmp_path).end_strays([gateway.pid])
        assert start_time(child)
        Forks(tmp_path).end_strays([])
        wait_until(lambda: start_time(child) == 0)


def gateway_with_child(channel: socket.socket, label: Path) -> subprocess.Popen[bytes]:
    """A process that ends at once; it prints the number of its child, which stays."""
    program = 'exec 3<&0; "$0" -m wagi_gateway.cli.fork_server "$1" <&3 & echo $!'
    command = ["/bin/sh", "-c", program, sys.executable, str(label)]
    return subprocess.Popen(command, stdin=channel.fileno(), stdout=subprocess.PIPE, start_new_session=True)
