"""The fork server: one child process for each module, which lives no longer than its parents and its bounds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import wasmtime

from tests.conftest import ROOT, wait_until
from tests.support.modules import binary
from tests.support.slow_modules import ENDLESS, is_running, new_compilers, note_compilers
from wagi_gateway.compiler.engine import EngineSettings, create_engine
from wagi_gateway.compiler.fork_server import REFUSED, Job, compile_module

START = "from wagi_gateway.compiler.fork_server import main; main()"
ENDLESS_MODULE = bytes(wasmtime.wat2wasm(ENDLESS))
JOB = Job(600.0, 2**30)


@pytest.fixture(autouse=True)
def _other_compilers() -> None:
    """Other tests of this process may have fork servers of their own."""
    note_compilers()


@pytest.fixture
def channel() -> Iterator[socket.socket]:
    """A connection to a fork server, which is a child of this process."""
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, other, subprocess.Popen([sys.executable, "-c", START], stdin=other.fileno(), cwd=ROOT):
        other.close()
        own.settimeout(60)
        yield own
        own.close()


def request(channel: socket.socket, module: bytes, job: Job = JOB) -> int:
    """Sends a module; returns the pipe from which the artefact is read."""
    (source, to_source), (output, to_output) = os.pipe(), os.pipe()
    os.write(to_source, module)
    socket.send_fds(channel, [job.encode()], [source, to_output])
    for descriptor in (source, to_source, to_output):
        os.close(descriptor)
    return output


def answer(channel: socket.socket) -> int:
    """The exit code of the child, negative for a signal."""
    return os.waitstatus_to_exitcode(int(channel.recv(64)))


def both() -> list[int]:
    """The fork server, and its child that compiles."""
    wait_until(lambda: len(new_compilers()) == 2)
    return new_compilers()


def test_a_job_is_sent_as_text() -> None:
    for job in (Job(1.5, 2**40), Job(1.5, 2**40, has_source_lines=True)):
        assert Job.decode(job.encode()) == job


def test_an_artefact_is_for_every_engine_of_the_gateway() -> None:
    engine, _ = create_engine(EngineSettings(slots=1, max_memory=2**16, memories=1, tables=1, table_elements=10))
    assert wasmtime.Module.deserialize(engine, compile_module(binary("(memory 1)")))


def test_one_module_after_the_other(channel: socket.socket) -> None:
    for _ in range(3):
        output = request(channel, binary('(func (export "_start"))'))
        with open(output, "rb") as file:
            assert file.read()[:4] == b"\x7fELF"
        assert answer(channel) == 0
    output = request(channel, b"\0asm no module")
    with open(output, "rb") as file:
        assert b"version" in file.read()
    assert answer(channel) == REFUSED


def test_time_is_bounded_by_the_kernel(channel: socket.socket) -> None:
    os.close(request(channel, ENDLESS_MODULE, Job(0.5, 2**30)))
    assert answer(channel) == -signal.SIGALRM


def test_the_end_of_a_child_is_an_answer(channel: socket.socket) -> None:
    os.close(request(channel, ENDLESS_MODULE))
    server, child = both()
    os.kill(child, signal.SIGABRT)
    assert answer(channel) == -signal.SIGABRT
    assert is_running(server)
    with open(request(channel, binary("")), "rb") as file:
        assert file.read()
    assert answer(channel) == 0


def test_a_closed_socket_ends_both(channel: socket.socket) -> None:
    os.close(request(channel, ENDLESS_MODULE))
    pids = both()
    channel.close()
    wait_until(lambda: not any(map(is_running, pids)))


def test_a_child_ends_with_its_fork_server(channel: socket.socket) -> None:
    os.close(request(channel, ENDLESS_MODULE))
    server, child = both()
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_running(child))
    assert channel.recv(64) == b""


def test_a_child_has_low_priority_and_is_killed_first(channel: socket.socket) -> None:
    os.close(request(channel, ENDLESS_MODULE))
    _, child = both()
    wait_until(lambda: score(child) == 1000)
    assert os.getpriority(os.PRIO_PROCESS, child) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


def score(pid: int) -> int:
    """The oom_score_adj of a process (proc(5))."""
    with open(f"/proc/{pid}/oom_score_adj") as file:
        return int(file.read())
