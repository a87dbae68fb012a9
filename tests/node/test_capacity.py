"""What the node says of its machine."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from wagi_gateway.memory import MOUNT
from wagi_gateway.node import capacity
from wagi_gateway.node.capacity import Machine, Pressure
from wagi_gateway.node.options import NodeOptions


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with 1 GiB of memory, all of it available, and 100 processes of 1000."""
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "meminfo").write_text("MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\nHugePages_Total: 0\n")
    (tmp_path / "loadavg").write_text("0.1 0.2 0.3 1/100 4711\n")
    (tmp_path / "sys/kernel/pid_max").write_text("1000\n")
    return tmp_path


def test_the_machine_is_this_one() -> None:
    found = capacity.machine(Path("/tmp"))
    assert found.millicpus >= 1000 or (MOUNT / "cpu.max").exists()
    assert found.memory > 2**26
    assert found.storage > 2**20


@pytest.mark.parametrize(("quota", "share"), [("max 100000", 1.0), ("50000 100000", 0.5), ("", 1.0)])
def test_a_quota_bounds_the_processors(
    tmp_path: Path, proc: Path, quota: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    (tmp_path / "cpu.max").write_text(quota)
    assert capacity.machine(tmp_path, proc, tmp_path).millicpus == 1000 * share


def test_reserved_memory_is_not_allocatable() -> None:
    found = capacity.resources(Machine(1500, 2**30, 2**31), NodeOptions(max_pods=7, reserved_memory=2**28))
    assert found["capacity"] == {"cpu": "1500m", "memory": "1048576Ki", "ephemeral-storage": "2097152Ki", "pods": "7"}
    assert found["allocatable"] == found["capacity"] | {"memory": "786432Ki"}


def test_no_more_is_reserved_than_there_is() -> None:
    assert capacity.resources(Machine(1, 1024, 0), NodeOptions())["allocatable"]["memory"] == "0Ki"


def test_a_machine_with_room_has_no_pressure(tmp_path: Path, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "MIN_STORAGE", 0)
    monkeypatch.setattr(capacity, "MIN_INODES", 0)
    assert capacity.pressure(tmp_path, proc) == Pressure()


def test_what_is_nearly_used_up_is_pressure(tmp_path: Path, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "MIN_STORAGE", 2**62)
    (proc / "meminfo").write_text("MemTotal: 1048576 kB\nMemAvailable: 1024 kB\n")
    (proc / "loadavg").write_text("0.1 0.2 0.3 1/951 4711\n")
    assert capacity.pressure(tmp_path, proc) == Pressure(memory=True, disk=True, pids=True)


def test_the_node_says_what_it_is() -> None:
    info = capacity.node_info()
    assert (info["architecture"], info["operatingSystem"]) == ("wasm32-wagi", "linux")
    assert info["kernelVersion"] == platform.release()
    assert re.fullmatch(r"v\d+\.\d+\.\d+-wagi-gateway\.\S+", info["kubeletVersion"])
    assert info["containerRuntimeVersion"].startswith("wagi-gateway://")


def test_a_system_without_a_name_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_file() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr(platform, "freedesktop_os_release", no_file)
    assert capacity.node_info()["osImage"] == ""
    assert capacity._text(tmp_path / "none") == ""
