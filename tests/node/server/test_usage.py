"""Usage of processes and their descendants."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.support.node_api import Pods
from wagi_gateway.node.server.usage import GatewayProcess, Meter, _descendants, containers_of, running

POD = {"metadata": {"namespace": "default", "name": "demo"}, "spec": {"containers": [{"name": "a"}]}}
PARENT = """
import subprocess, sys
memory = bytearray(20_000_000)
subprocess.run([sys.executable, "-c", "for _ in range(3_000_000): pass"])
with subprocess.Popen([sys.executable, "-c", "x = bytearray(30_000_000); print(flush=True); input()"],
        stdin=subprocess.PIPE) as child:
    input()
    child.kill()
"""
FORGETFUL = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
program = "for _ in range(5_000_000): pass\\nprint(flush=True)\\ninput()"
with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
    input()
    child.communicate(b"\\n")
print(flush=True)
input()
"""


def test_descendants_count_also_those_that_have_ended() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        usage = Meter(os.getpid()).measure([GatewayProcess(POD, process.pid)])
        process.communicate("\n")
    (pod,) = usage.pods
    assert pod.tree.working_set > 50_000_000
    assert pod.tree.cpu_seconds > 0
    assert pod.tree.started <= usage.time
    assert usage.node.working_set >= pod.tree.working_set


def test_a_pod_of_an_earlier_process_counts_once() -> None:
    with subprocess.Popen(["sleep", "60"]) as own, subprocess.Popen(["sleep", "60"]) as other:
        wait_until(lambda: Path(f"/proc/{other.pid}/cmdline").read_bytes().startswith(b"sleep"))
        usage = Meter(own.pid).measure([GatewayProcess(POD, other.pid)])
        alone = Meter(own.pid).measure([])
        assert usage.node.working_set > alone.node.working_set
        own.kill()
        other.kill()


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process whose child has used the processor; nobody gets its time when it ends, which is at the next line."""
    with subprocess.Popen(
        [sys.executable, "-c", FORGETFUL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_the_time_of_a_pod_does_not_fall(busy: subprocess.Popen[str]) -> None:
    meter, processes = Meter(os.getpid()), [GatewayProcess(POD, busy.pid)]
    before = meter.measure(processes).pods[0].tree.cpu_seconds
    print(file=busy.stdin, flush=True)
    assert busy.stdout
    busy.stdout.readline()
    assert Meter(os.getpid()).measure(processes).pods[0].tree.cpu_seconds < before
    assert meter.measure(processes).pods[0].tree.cpu_seconds == before


def test_the_time_of_a_pod_of_an_earlier_process_stays_in_the_node_s(busy: subprocess.Popen[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as own:
        meter = Meter(own.pid)
        before = meter.measure([GatewayProcess(POD, busy.pid)]).node
        busy.kill()
        busy.wait()
        after = meter.measure([GatewayProcess(POD, busy.pid)])
        assert (after.pods, after.node.working_set < before.working_set) == ((), True)
        assert after.node.cpu_seconds == before.cpu_seconds > 0
        assert meter.measure([]).node.cpu_seconds == after.node.cpu_seconds
        own.kill()


def test_a_pod_of_an_earlier_process_that_is_left_out_once_counts_once(busy: subprocess.Popen[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as own:
        meter = Meter(own.pid)
        before = meter.measure([GatewayProcess(POD, busy.pid)]).node.cpu_seconds
        assert meter.measure([]).node.cpu_seconds == before
        after = meter.measure([GatewayProcess(POD, busy.pid)]).node.cpu_seconds
        assert before <= after < 1.5 * before
        own.kill()


def test_a_process_that_cannot_be_read_ends_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the others would be counted under the wrong process."""
    read = Path.read_text

    def refuse(path: Path, **options: Any) -> str:
        if path == Path(f"/proc/{os.getpid()}/stat"):
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Meter(os.getpid()).measure([])


def test_a_process_that_has_ended_has_no_usage() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    usage = Meter(process.pid).measure([GatewayProcess(POD, process.pid)])
    assert (usage.pods, usage.node) == ((), (0.0, 0, 0.0))


def test_a_process_that_nobody_awaits_has_ended() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_until(lambda: ") Z " in Path(f"/proc/{process.pid}/stat").read_text())
        assert Meter(os.getpid()).measure([GatewayProcess(POD, process.pid)]).pods == ()


def test_a_process_without_memory_has_no_usage() -> None:
    """As one that is about to end; a thread of the kernel never has any."""
    if Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("the threads of the kernel are not seen here")
    assert Meter(os.getpid()).measure([GatewayProcess(POD, 2)]).pods == ()


def test_memory_that_may_not_be_read_in_detail_is_the_resident_set(monkeypatch: pytest.MonkeyPatch) -> None:
    read_text = Path.read_text

    def refuse(path: Path, **options: Any) -> str:
        if path.name == "smaps_rollup":
            raise PermissionError
        return read_text(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert Meter(os.getpid()).measure([]).node.working_set > 20_000_000


def test_a_circle_of_processes_has_an_end() -> None:
    assert _descendants(1, {1: [2, 3], 2: [1], 3: [3]}) == [1, 2, 3]


def test_pods_whose_gateways_run(tmp_path: Path) -> None:
    pods = Pods()
    pods.add("one", "a", tmp_path / "a")
    pods.add("one", "b", tmp_path / "b", pid=7)
    pods.add("two", "a", tmp_path / "a", waiting="ContainerCreating")
    assert [(one.pod["metadata"]["name"], one.pid) for one in running(pods)] == [("one", 7)]


@pytest.mark.parametrize("pod", [{"metadata": {"namespace": "default", "name": "gone"}}, POD])
def test_a_pod_that_has_gone_has_no_containers(pod: dict[str, object]) -> None:
    assert list(containers_of(Pods(), pod)) == []
