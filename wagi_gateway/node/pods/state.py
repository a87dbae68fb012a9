"""The state of one Pod on the node, which outlives the node's process in `state.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from ..atomic_file import write_atomically

_MAX_PID = 2**22
"""The kernel's own bound (proc_sys_kernel(5))."""


@dataclass(slots=True)
class Waiting:
    """The state of a container that does not run: `state.waiting`."""

    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(slots=True)
class Termination:
    """The end of a run: `state.terminated`. Times are those of RFC 3339."""

    exit_code: int
    reason: str
    message: str
    started_at: str
    finished_at: str
    run: str
    """The id of the run, as in `containerID`."""


@dataclass(slots=True)
class Run:
    """A gateway's process."""

    pid: int
    pid_start: int
    """Start time of the process in clock ticks since boot (proc_pid_stat(5), field 22): pids are used again."""
    id: str
    """The id of the run, as in `containerID`."""
    started_at: str
    host: str
    """The address that the gateway listens on."""
    port: int
    is_serving: bool = False
    """Whether the gateway has compiled its modules and answers."""
    started: dict[str, bool] = field(default_factory=dict)
    """Whether the startup probe of each container has succeeded."""
    ready: dict[str, bool] = field(default_factory=dict)
    """The last result of each readiness probe."""
    is_stopping: bool = False
    """Whether the `preStop` hooks have run, and the gateway has been told to end."""


@dataclass(slots=True)
class PodState:
    """Everything that the status shows, and that adoption needs."""

    phase: str = "Pending"
    reason: str = ""
    """`status.reason`, such as `Evicted`."""
    message: str = ""
    start_time: str = ""
    address: str = ""
    """The address that the Pod alone has; empty if it has that of the node, or none yet."""
    definition: str = ""
    """What the images are of, and the gateway is made of; another one in the API restarts it."""
    restarts: int = 0
    latest: int = 0
    """The number of the latest run, which names its logs; that of the next one is `restarts`."""
    delay: float = 0.0
    """The back-off of the next restart, in seconds."""
    waiting: Waiting = field(default_factory=Waiting)
    """The state of all containers without a run."""
    waiting_images: dict[str, Waiting] = field(default_factory=dict)
    """Containers whose image could not be pulled."""
    images: dict[str, str] = field(default_factory=dict)
    """The pinned reference of each container's image, `ref@sha256:…`."""
    run: Run | None = None
    termination: Termination | None = None
    """The end of the last run, once there is no other."""
    last_termination: Termination | None = None
    """The end of the run before the current one."""

    def save(self, path: Path) -> None:
        """Writes the state, atomically. Raises OSError."""
        write_atomically(path, json.dumps(dataclasses.asdict(self)))

    @classmethod
    def load(cls, path: Path) -> PodState | None:
        """The state in a file; None if there is no readable one."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            text = path.read_bytes()
            state = _DOCUMENT.validate_json(text, strict=True)
            is_whole = json.loads(text).keys() == {one.name for one in dataclasses.fields(cls)}
            if is_whole and (state.run is None or 0 < state.run.pid < _MAX_PID):
                return state
        return None


_DOCUMENT = TypeAdapter(PodState)


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, as the Kubernetes API writes it: `2026-11-30T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
