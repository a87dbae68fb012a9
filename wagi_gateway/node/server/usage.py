"""Processor time and memory of the node and its Pods, from proc(5)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..api import Object
from .containers import Container, Containers, UnknownContainer, UnknownPod, current_pods

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError)
"""What a process that has ended raises. Other errors are for the caller: without its parent a process is miscounted."""


class TreeUsage(NamedTuple):
    """What a process and its descendants use."""

    cpu_seconds: float
    """With those of descendants that have ended."""
    working_set: int
    """Bytes: the proportional set size (PSS), which counts a page shared by processes once."""
    started: float
    """Start of the process, in seconds since 1970."""


class ContainerUsage(NamedTuple):
    """A container's share of the usage of its Pod."""

    name: str
    cpu_seconds: float
    working_set: float


class PodUsage(NamedTuple):
    """Usage of a Pod whose gateway runs, and its containers.

    The modules of a Pod share a process, so each container has an equal share: the sum is exact, as metrics-server
    needs it, which adds up containers.
    """

    namespace: str
    name: str
    uid: str
    tree: TreeUsage
    containers: tuple[ContainerUsage, ...]


class NodeUsage(NamedTuple):
    """Usage of the node with its Pods, at one time."""

    time: float
    """Seconds since 1970."""
    node: TreeUsage
    """The node's process and those of all Pods."""
    pods: tuple[PodUsage, ...]


class GatewayProcess(NamedTuple):
    """The process of a Pod."""

    pod: Object
    pid: int


def running(containers: Containers) -> list[GatewayProcess]:
    """The Pods whose gateways run."""
    return [GatewayProcess(pod, pid) for pod in current_pods(containers) if (pid := _pid(containers, pod))]


def containers_of(containers: Containers, pod: Object) -> Iterator[tuple[str, Container]]:
    """The containers of a Pod by name; nothing of a Pod that has gone meanwhile."""
    metadata = pod["metadata"]
    for spec in pod.get("spec", {}).get("containers", ()):
        try:
            yield spec["name"], containers.container(metadata["namespace"], metadata["name"], spec["name"])
        except (UnknownPod, UnknownContainer):
            return


def _pid(containers: Containers, pod: Object) -> int | None:
    return next((one.pid for _, one in containers_of(containers, pod) if one.pid is not None), None)


class Meter:
    """Measures the node and its Pods again and again.

    Processor time is a counter, which must not fall: metrics-server drops the node or container then, and Prometheus
    counts all of it once more.
    """

    def __init__(self, own: int) -> None:
        """`own` is the process of the node."""
        self._own = own
        self._last: dict[_Process, float] = {}
        """Processor time of the trees at the last measurement."""
        self._apart: dict[_Process, float] = {}
        """That of Pods which an earlier process of the node started: no process has their time after their end."""
        self._ended = 0.0
        """That of those which have ended."""
        self._total = 0.0

    def measure(self, processes: Iterable[GatewayProcess]) -> NodeUsage:
        """Reads the usage of the node and of its Pods; a Pod that has ended is left out."""
        children, boot = _children(), _boot_time()
        below = set(_descendants(self._own, children))
        last: dict[_Process, float] = {}
        apart: dict[_Process, TreeUsage] = {}
        pods = []
        for pod, pid in processes:
            if found := _tree(pid, children, boot):
                process, tree = found
                # A descendant that ends during a measurement may be in neither the tree nor its parent.
                last[process] = max(tree.cpu_seconds, self._last.get(process, 0.0))
                tree = tree._replace(cpu_seconds=last[process])
                pods.append(_pod_usage(pod, tree))
                if pid not in below:
                    apart[process] = tree
        self._last = last
        return NodeUsage(time.time(), self._sum(_tree(self._own, children, boot), apart), tuple(pods))

    def _sum(self, own: tuple[_Process, TreeUsage] | None, apart: Mapping[_Process, TreeUsage]) -> TreeUsage:
        """The usage of the node's tree and of the Pods apart from it, with the time of those that have ended."""
        tree = own[1] if own else TreeUsage(0.0, 0, 0.0)
        self._apart |= {process: one.cpu_seconds for process, one in apart.items()}
        for process in [one for one in self._apart if one not in apart and _has_ended(one)]:
            self._ended += self._apart.pop(process)
        self._total = max(self._total, tree.cpu_seconds + self._ended + sum(self._apart.values()))
        return TreeUsage(self._total, tree.working_set + sum(one.working_set for one in apart.values()), tree.started)


def _pod_usage(pod: Object, tree: TreeUsage) -> PodUsage:
    metadata, names = pod["metadata"], [one["name"] for one in pod["spec"]["containers"]]
    share = 1 / len(names)
    each = tuple(ContainerUsage(name, tree.cpu_seconds * share, tree.working_set * share) for name in names)
    return PodUsage(metadata["namespace"], metadata["name"], metadata.get("uid", ""), tree, each)


class _Process(NamedTuple):
    """A process, whose id another one may have later."""

    pid: int
    start: int
    """Clock ticks from the boot to its start."""


def _tree(pid: int, children: Mapping[int, list[int]], boot: float) -> tuple[_Process, TreeUsage] | None:
    """Usage of a process and its descendants; None if it has ended."""
    try:
        state, *fields = _stat(pid)
    except _GONE:
        return None
    if state == "Z":
        return None
    cpu, memory = 0.0, 0
    for one in _descendants(pid, children):
        with contextlib.suppress(*_GONE):  # it has ended meanwhile
            ticks = _stat(one)[11:15]  # utime, stime, cutime, cstime
            cpu += sum(map(int, ticks)) / _TICKS
            memory += _memory(one)
    if not memory:  # it is about to end; metrics-server takes a zero for a failure
        return None
    start = int(fields[18])
    return _Process(pid, start), TreeUsage(cpu, memory, boot + start / _TICKS)


def _has_ended(process: _Process) -> bool:
    try:
        return int(_stat(process.pid)[19]) != process.start
    except _GONE:
        return True


def _descendants(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    """A process and its descendants, each of them once: ids that are used again could make a circle."""
    found = dict.fromkeys([pid])
    pending = [pid]
    while pending:
        new = [child for child in children.get(pending.pop(), ()) if child not in found]
        found |= dict.fromkeys(new)
        pending += new
    return list(found)


def _children() -> dict[int, list[int]]:
    """The children of each process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(*_GONE):  # it has ended meanwhile
                children.setdefault(int(_stat(int(name))[1]), []).append(int(name))
    return children


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one (state) on: the second, a program's name, may hold blanks and
    parentheses. Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()


def _memory(pid: int) -> int:
    """Bytes of the proportional set, or of the resident set where that may not be read. Raises OSError."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _boot_time() -> float:
    line = next(one for one in Path("/proc/stat").read_text().splitlines() if one.startswith("btime "))
    return float(line.split()[1])
