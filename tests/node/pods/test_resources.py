"""The limits of a Pod, and the control group that enforces them."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.pods import a_pod
from wagi_gateway.node.pods.resources import GATEWAY_MEMORY, ControlGroups, PodLimits, bound_command, bound_data

MIB = 2**20


def limits(**values: str) -> dict[str, Any]:
    return {"resources": {"limits": values}}


@pytest.mark.parametrize(
    ("containers", "spec", "found"),
    [
        ([{}], {}, PodLimits()),
        ([limits(memory="64Mi", cpu="500m")], {}, PodLimits(64 * MIB + GATEWAY_MEMORY, Fraction(1, 2))),
        (
            [limits(memory="64Mi"), {"name": "b", **limits(memory="1Mi", cpu="1")}],
            {},
            PodLimits(65 * MIB + GATEWAY_MEMORY, None),
        ),
        ([limits(memory="64Mi"), {"name": "b"}], {}, PodLimits()),
        ([{}], {"resources": {"limits": {"memory": "1Mi"}}}, PodLimits(MIB + GATEWAY_MEMORY)),
        ([limits(cpu="1")], {"overhead": {"cpu": "250m"}}, PodLimits(None, Fraction(5, 4))),
        ([limits(cpu="nonsense")], {}, PodLimits()),
    ],
)
def test_the_limits_of_a_pod(containers: list[dict[str, Any]], spec: dict[str, Any], found: PodLimits) -> None:
    assert PodLimits.of(a_pod(*containers, **spec)) == found
    assert bool(found) == (found != PodLimits())


def delegated(tmp_path: Path, own: str = "0::/unit\n", controllers: str = "cpu io memory pids", used: str = "") -> Path:
    """A tree like cgroup v2's; returns the group `unit`."""
    group = tmp_path / "cgroup/unit"
    (group / "node").mkdir(parents=True)
    (group / "cgroup.controllers").write_text(controllers)
    (group / "cgroup.subtree_control").write_text(used)
    (tmp_path / "own").write_text(f"1:name=x:/\n{own}")
    return group


def find(tmp_path: Path) -> ControlGroups:
    return ControlGroups.find(tmp_path / "cgroup", tmp_path / "own")


def test_a_pod_gets_a_group(tmp_path: Path) -> None:
    unit = delegated(tmp_path)
    groups = find(tmp_path)
    assert (unit / "node/cgroup.procs").read_text() == str(os.getpid())
    assert (unit / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert groups.add("u", 42, PodLimits(MIB, Fraction(1, 3)))
    group = unit / "pod-u"
    assert {one.name: one.read_text() for one in group.iterdir()} == {
        "cgroup.procs": "42",
        "memory.max": str(MIB),
        "cpu.max": "33334 100000",
        "pids.max": "1024",
    }
    assert not groups.was_out_of_memory("u")
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert groups.was_out_of_memory("u")
    for one in group.iterdir():
        one.unlink()
    groups.remove("u")
    groups.remove("u")
    assert not group.exists()


def test_the_group_of_an_earlier_node_is_used_again(tmp_path: Path) -> None:
    unit = delegated(tmp_path, "0::/unit/node\n", used="cpu memory pids")
    assert find(tmp_path).add("u", 42, PodLimits(None, Fraction(1, 10**9)))
    assert (unit / "pod-u/cpu.max").read_text() == "1000 100000"
    assert (unit / "cgroup.subtree_control").read_text() == "cpu memory pids"


def test_a_unit_is_used_by_way_of_a_group_of_its_own(tmp_path: Path) -> None:
    """systemd 254 starts the node in it (DelegateSubgroup=); an older one could not start the node a second time."""
    unit = delegated(tmp_path)
    service = unit.rename(unit.with_name("wagi.service"))
    (tmp_path / "own").write_text("0::/wagi.service\n")
    assert not find(tmp_path).add("u", 42, PodLimits(MIB))
    assert (service / "cgroup.subtree_control").read_text() == ""
    (tmp_path / "own").write_text("0::/wagi.service/node\n")
    assert find(tmp_path).add("u", 42, PodLimits(MIB))


@pytest.mark.parametrize(
    "tree", [{"own": ""}, {"controllers": "cpu"}, {"own": "0::/other\n"}], ids=["version 1", "no memory", "absent"]
)
def test_a_system_without_groups(tmp_path: Path, tree: dict[str, str]) -> None:
    delegated(tmp_path, **tree)
    groups = find(tmp_path)
    assert not groups.add("u", 42, PodLimits(MIB))
    assert not groups.was_out_of_memory("u")
    groups.remove("u")


def test_a_group_that_cannot_be_written(tmp_path: Path) -> None:
    unit = delegated(tmp_path)
    groups = find(tmp_path)
    (unit / "pod-u").write_text("a file")
    assert not groups.add("u", 42, PodLimits(MIB))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps."""
    with subprocess.Popen(["/bin/sleep", "60"]) as started:
        yield started
        started.kill()


def test_private_memory_is_bounded(child: subprocess.Popen[bytes]) -> None:
    assert bound_data(child.pid, 2**30)
    soft, hard = resource.prlimit(child.pid, resource.RLIMIT_DATA)
    assert 2**30 <= soft == hard < 2**31
    child.kill()
    child.wait()
    assert not bound_data(child.pid, 2**30)


def test_a_command_is_in_the_group_of_its_pod(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """The kernel ends it before the gateway."""
    unit = delegated(tmp_path)
    bound_command(find(tmp_path), a_pod(limits(memory="64Mi")), child.pid)
    assert (unit / "pod-uid-demo/cgroup.procs").read_text() == str(child.pid)
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
    assert resource.prlimit(child.pid, resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "containers", [[limits(memory="64Mi")], [limits(cpu="1")], [{}]], ids=["memory", "cpu", "none"]
)
def test_a_command_without_a_group_has_a_bound_of_its_own(
    child: subprocess.Popen[bytes], containers: list[dict[str, Any]]
) -> None:
    """It may be raised: a compilation has its own."""
    bound_command(ControlGroups(None), a_pod(*containers), child.pid)
    soft, hard = resource.prlimit(child.pid, resource.RLIMIT_DATA)
    assert hard == resource.RLIM_INFINITY
    assert (192 * MIB <= soft < 256 * MIB) == ("memory" in str(containers))


def test_a_command_that_has_ended_is_not_bounded(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    bound_command(ControlGroups(None), a_pod(limits(memory="64Mi")), child.pid)
