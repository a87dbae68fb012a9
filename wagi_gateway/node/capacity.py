"""The machine as a Node reports it: capacity, nodeInfo and pressure, as far as this process may use it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

from ..memory import MOUNT, memory_bound
from ..version import __version__
from .api import Object
from .options import ARCHITECTURE, NodeOptions

KUBELET_VERSION = f"v1.36.0-wagi-gateway.{__version__}"
"""The release of Kubernetes whose node API this is; tools that upgrade clusters parse it and compare it with others."""
MIN_MEMORY = 100 * 2**20
"""Bytes of available memory below which there is pressure, as of a kubelet."""
MIN_STORAGE = 512 * 2**20
"""Bytes of the state directory's filesystem; a module and its logs are small."""
MIN_INODES = MIN_PIDS = 0.05
"""Shares of the inodes of that filesystem, and of the processes of the system."""


class Machine(NamedTuple):
    """What this process may use."""

    millicpus: int
    memory: int
    """Bytes."""
    storage: int
    """Bytes of the filesystem of the state directory."""


class Pressure(NamedTuple):
    """Which resources are nearly used up."""

    memory: bool = False
    disk: bool = False
    pids: bool = False


def machine(directory: Path, proc: Path = Path("/proc"), cgroup: Path = MOUNT) -> Machine:
    """The processors, memory and storage, within the bounds of the control group. Raises OSError."""
    memory = _memory(proc)["MemTotal"]
    if bound := memory_bound():
        memory = min(memory, bound.size)
    storage = os.statvfs(directory)
    return Machine(_millicpus(cgroup), memory, storage.f_blocks * storage.f_frsize)


def resources(of: Machine, options: NodeOptions) -> Object:
    """`capacity` and `allocatable` of the status."""
    capacity = {
        "cpu": f"{of.millicpus}m",
        "memory": f"{of.memory >> 10}Ki",
        "ephemeral-storage": f"{of.storage >> 10}Ki",
        "pods": str(options.pods),
    }
    memory = max(0, of.memory - options.reserved_memory)
    return {"capacity": capacity, "allocatable": capacity | {"memory": f"{memory >> 10}Ki"}}


def pressure(directory: Path, proc: Path = Path("/proc")) -> Pressure:
    """The pressure of this moment. Raises OSError."""
    storage = os.statvfs(directory)
    has_inodes = not storage.f_files or storage.f_favail >= storage.f_files * MIN_INODES
    processes = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    return Pressure(
        memory=_memory(proc)["MemAvailable"] < MIN_MEMORY,
        disk=storage.f_bavail * storage.f_frsize < MIN_STORAGE or not has_inodes,
        pids=processes > int((proc / "sys/kernel/pid_max").read_text()) * (1 - MIN_PIDS),
    )


def node_info() -> Object:
    """`nodeInfo` of the status; unknown fields are empty."""
    machine_id = _text(Path("/etc/machine-id"))
    return {
        "architecture": ARCHITECTURE,
        "operatingSystem": "linux",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "containerRuntimeVersion": f"wagi-gateway://{__version__}",
        "osImage": _os_image(),
        "kernelVersion": platform.release(),
        "machineID": machine_id,
        "systemUUID": _text(Path("/sys/class/dmi/id/product_uuid")) or machine_id,
        "bootID": _text(Path("/proc/sys/kernel/random/boot_id")),
    }


def _memory(proc: Path) -> dict[str, int]:
    """Bytes by the names of proc_meminfo(5)."""
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines}


def _millicpus(cgroup: Path) -> int:
    """The processors of the process's affinity, or the quota of its control group if that is less."""
    count = len(os.sched_getaffinity(0)) * 1000
    try:
        quota, period = map(int, (cgroup / "cpu.max").read_text().split())
    except (OSError, ValueError):  # "max", or no control group of version 2
        return count
    return min(count, quota * 1000 // period)


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
