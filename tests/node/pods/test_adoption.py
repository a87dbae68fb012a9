"""The folders of an earlier process of the node."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.pods import a_pod
from wagi_gateway.node.pods.adoption import FoundPod, end_gateways, find_pods
from wagi_gateway.node.pods.folder import PodFolder
from wagi_gateway.node.pods.process import start_time
from wagi_gateway.node.pods.state import PodState, Run


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["/bin/sleep", "300"])
    yield child
    child.kill()
    child.wait()


def a_folder(tmp_path: Path, pid: int, started: int, uid: str = "uid-demo", **spec: Any) -> PodFolder:
    folder = PodFolder.of(tmp_path, uid)
    folder.make()
    folder.save_manifest(a_pod(**spec))
    PodState("Running", run=Run(pid, started, "r", "s", "127.0.0.1", 3001)).save(folder.state)
    return folder


def found(tmp_path: Path) -> list[FoundPod]:
    async def go() -> list[FoundPod]:
        pods = find_pods(tmp_path, 0.0)
        for one in pods:
            if one.process:
                one.process.close()
        return pods

    return asyncio.run(go())


def test_a_gateway_that_runs_is_adopted(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    a_folder(tmp_path, sleeper.pid, start_time(sleeper.pid))
    (one,) = found(tmp_path)
    assert one.process is not None
    assert one.process.pid == sleeper.pid
    assert one.pod == a_pod()
    assert one.state.restarts == 0


@pytest.mark.parametrize(("policy", "restarts", "phase"), [("Always", 1, "Running"), ("Never", 0, "Failed")])
def test_the_end_of_a_gateway_is_recorded(tmp_path: Path, policy: str, restarts: int, phase: str) -> None:
    a_folder(tmp_path, 1, 1, restartPolicy=policy)
    (one,) = found(tmp_path)
    assert one.process is None
    assert one.state.run is None
    assert one.state.termination is not None
    assert one.state.termination.reason == "ContainerStatusUnknown"
    assert (one.state.restarts, one.state.phase) == (restarts, phase)


def test_what_cannot_be_adopted_is_removed_with_its_gateway(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    a_folder(tmp_path, sleeper.pid, start_time(sleeper.pid)).manifest.write_text("damaged")
    a_folder(tmp_path, 1, 1, uid="other")
    PodFolder.of(tmp_path, "empty").make()
    assert found(tmp_path) == []
    assert list(PodFolder.all(tmp_path)) == []
    assert sleeper.wait(60) == -9


@pytest.mark.parametrize("text", ['{"metadata": null, "spec": 1}', "[" * 100_000, '{"metadata": {"uid": "uid-demo"}}'])
def test_a_damaged_pod_is_removed(tmp_path: Path, text: str) -> None:
    a_folder(tmp_path, 1, 1).manifest.write_text(text)
    assert found(tmp_path) == []
    assert list(PodFolder.all(tmp_path)) == []


def test_a_pod_without_a_run(tmp_path: Path) -> None:
    PodState().save(a_folder(tmp_path, 1, 1).state)
    (one,) = found(tmp_path)
    assert (one.process, one.state) == (None, PodState())


@pytest.fixture
def gateways() -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that print a line at SIGTERM, of which the second one does not end."""
    program = """
import signal, sys
def on_signal(*_):
    print("SIGTERM", flush=True)
    if sys.argv[1] == "ends":
        sys.exit()
signal.signal(signal.SIGTERM, on_signal)
print("ready", flush=True)
while True:
    signal.pause()
"""
    with ExitStack() as stack:
        children = []
        for how in ("ends", "stays"):
            command = [sys.executable, "-c", program, how]
            child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(child.kill)
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            children.append(child)
        yield children


@pytest.mark.parametrize("is_readable", [True, False])
def test_gateways_of_another_node_are_ended(
    tmp_path: Path, gateways: list[subprocess.Popen[str]], is_readable: bool
) -> None:
    """In the grace period of each Pod, and in that of the node at most."""
    ends, stays = gateways
    a_folder(tmp_path, ends.pid, start_time(ends.pid), uid="one")
    other = a_folder(tmp_path, stays.pid, start_time(stays.pid), uid="two", terminationGracePeriodSeconds=1)
    a_folder(tmp_path, 1, 1, uid="ended")
    PodFolder.of(tmp_path, "empty").make()
    if not is_readable:
        other.manifest.write_text("damaged")
    assert asyncio.run(end_gateways(tmp_path, 30 if is_readable else 1)) == 2
    assert [child.communicate(timeout=60)[0] for child in gateways] == ["SIGTERM\n"] * 2
    assert len(list(PodFolder.all(tmp_path))) == 4
