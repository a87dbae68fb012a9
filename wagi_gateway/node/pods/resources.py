"""The resource limits of a Pod as a whole, and how the system enforces them: a control group, or RLIMIT_DATA.

A container's `limits.memory` bounds each guest by itself (`limits.memory` of its module); the sum bounds the process.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...config.pod.quantity import parse_quantity
from ..api import Object

GATEWAY_MEMORY = 128 * 2**20
"""Bytes of a gateway beside its guests, which no limit of a container pays for."""
_CPU_PERIOD = 100_000
"""Microseconds (cgroup v2, `cpu.max`)."""
_MIN_QUOTA = 1000
"""Microseconds: the least that the kernel takes."""
_CONTROLLERS = ("cpu", "memory", "pids")
_MAX_PROCESSES = 1024
"""Threads and processes of one Pod."""
_MAX_OOM_SCORE = 1000
"""The process that the kernel ends first (proc_pid_oom_score_adj(5))."""
_OWN_GROUP = "node"
"""The group of the node's own process: a group with controllers for its children has no process of its own."""


@dataclass(frozen=True, slots=True)
class PodLimits:
    """The limits of one Pod; None where the Pod sets none."""

    memory: int | None = None
    """Bytes."""
    cpu: Fraction | None = None
    """Processors."""

    @classmethod
    def of(cls, pod: Object) -> PodLimits:
        """The limits of a Pod: its own, or the sum of those of its containers if each has one."""
        memory, cpu = _total(pod, "memory"), _total(pod, "cpu")
        return cls(None if memory is None else math.ceil(memory) + GATEWAY_MEMORY, cpu)

    def __bool__(self) -> bool:
        return self.memory is not None or self.cpu is not None


def _total(pod: Object, name: str) -> Fraction | None:
    own = ((pod["spec"].get("resources") or {}).get("limits") or {}).get(name)
    containers: Iterable[Object] = pod["spec"]["containers"]
    values = (
        [own]
        if own is not None
        else [((one.get("resources") or {}).get("limits") or {}).get(name) for one in containers]
    )
    try:
        numbers = [parse_quantity(str(value)) for value in values if value is not None]
    except ValueError:
        return None
    overhead = parse_quantity(str((pod["spec"].get("overhead") or {}).get(name, "0")))
    return sum(numbers, overhead) if len(numbers) == len(values) else None


class ControlGroups:
    """The control groups of the node's Pods (cgroup v2), where the node may make some."""

    def __init__(self, directory: Path | None) -> None:
        """`directory` is a group that may have children with controllers; None if there is none."""
        self._directory = directory

    @classmethod
    def find(cls, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> ControlGroups:
        """The group of this process, if it was delegated to the node (systemd: `Delegate=`, `DelegateSubgroup=node`).

        A unit's own group is not used: once it has children with controllers, systemd cannot start a process in it, and
        a node that crashed would not come back beside its Pods.
        """
        try:
            line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
            group = root / line[3:].lstrip("/")
            if group.name == _OWN_GROUP:
                group = group.parent
            elif group.suffix == ".service":
                return cls(None)
            if not set(_CONTROLLERS) <= set((group / "cgroup.controllers").read_text().split()):
                return cls(None)
            if not set(_CONTROLLERS) <= set((group / "cgroup.subtree_control").read_text().split()):
                _delegate(group)
        except (OSError, StopIteration):
            return cls(None)
        return cls(group)

    def add(self, uid: str, pid: int, limits: PodLimits) -> bool:
        """Bounds a process and its children; False if the system has no means. Takes an adopted process too."""
        if self._directory is None:
            return False
        group = self._directory / f"pod-{uid}"
        try:
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(pid))
            if limits.memory is not None:
                (group / "memory.max").write_text(str(limits.memory))
            if limits.cpu is not None:
                quota = max(math.ceil(limits.cpu * _CPU_PERIOD), _MIN_QUOTA)
                (group / "cpu.max").write_text(f"{quota} {_CPU_PERIOD}")
            (group / "pids.max").write_text(str(_MAX_PROCESSES))
        except OSError:
            return False
        return True

    def was_out_of_memory(self, uid: str) -> bool:
        """Whether the kernel ended a process of the group because of its memory."""
        if self._directory is None:
            return False
        with contextlib.suppress(OSError, ValueError):
            events = (self._directory / f"pod-{uid}" / "memory.events").read_text().split()
            return int(events[events.index("oom_kill") + 1]) > 0
        return False

    def remove(self, uid: str) -> None:
        """Removes the group of a Pod whose processes have ended."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                (self._directory / f"pod-{uid}").rmdir()


def _delegate(group: Path) -> None:
    """Moves this process into a group of its own, so that the controllers can be used for the others."""
    (group / _OWN_GROUP).mkdir(exist_ok=True)
    (group / _OWN_GROUP / "cgroup.procs").write_text(str(os.getpid()))
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))


def bound_command(groups: ControlGroups, pod: Object, pid: int) -> None:
    """Bounds the process of a command in a Pod, such as that of `kubectl exec`, like the Pod's gateway.

    Where they exceed the limit together the kernel ends the command.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_MAX_OOM_SCORE))
    limits = PodLimits.of(pod)
    if limits and not groups.add(pod["metadata"]["uid"], pid, limits) and limits.memory is not None:
        bound_data(pid, limits.memory, is_final=False)


def bound_data(pid: int, memory: int, *, is_final: bool = True) -> bool:
    """Bounds what a process's private memory (RLIMIT_DATA, getrlimit(2)) may grow by; False if it may not.

    A process whose bound is not final may start a compilation, which has a bound of its own.
    """
    try:
        # The stacks of threads count whole, used or not, so the bound is over what there is.
        bound = _data(pid) + memory
        most = bound if is_final else resource.prlimit(pid, resource.RLIMIT_DATA)[1]
        resource.prlimit(pid, resource.RLIMIT_DATA, (bound, most))
    except (OSError, ValueError):
        return False
    return True


def _data(pid: int) -> int:
    """The bytes of a process that RLIMIT_DATA counts. Raises OSError, ValueError."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    return int(status[status.index("VmData:") + 1]) * 1024
