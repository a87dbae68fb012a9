"""The folder of one Pod below the node's state directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...observe.log import logger
from ...site.temporary import remove_tree
from ..api import Object
from ..atomic_file import write_atomically
from .shape import is_uid, shape_problem

_KEPT_LOGS = 2
"""Logs of a container that are kept: of the current run, and of the one before for `kubectl logs --previous`."""


@dataclass(frozen=True, slots=True)
class PodFolder:
    """The paths of one Pod."""

    path: Path

    @classmethod
    def of(cls, state_directory: Path, uid: str) -> PodFolder:
        """The folder of a Pod. Raises ValueError for a uid that is no file name."""
        if not is_uid(uid):
            raise ValueError(f"{uid[:100]!r} is no uid")
        return cls(state_directory / "pods" / uid)

    @classmethod
    def all(cls, state_directory: Path) -> Iterator[PodFolder]:
        """The folders of an earlier process of the node."""
        pods = state_directory / "pods"
        if pods.is_dir():
            yield from (cls(entry) for entry in sorted(pods.iterdir()) if entry.is_dir() and not entry.is_symlink())

    @property
    def manifest(self) -> Path:
        """The Pod as it was last seen."""
        return self.path / "pod.json"

    @property
    def state(self) -> Path:
        """What adoption needs."""
        return self.path / "state.json"

    @property
    def configuration(self) -> Path:
        """The gateway's configuration."""
        return self.path / "modules.toml"

    @property
    def volumes(self) -> Path:
        """The directory of the volumes that are not of the node."""
        return self.path / "volumes"

    def sub_paths(self, container: str) -> Path:
        """The directory of files that a container mounts by `subPath`."""
        return self.path / "sub_paths" / container

    @property
    def gateway_log(self) -> Path:
        """What the gateway itself writes to standard error."""
        return self.path / "gateway.log"

    @property
    def admin_socket(self) -> Path:
        """The socket of the gateway's admin listener."""
        return self.path / "admin.sock"

    def log(self, container: str, restarts: int) -> Path:
        """The file for what the guests of a container write to standard error in one run."""
        return self.path / "logs" / container / f"{restarts}.log"

    def previous_log(self, container: str, restarts: int) -> Path | None:
        """The file of the run before."""
        path = self.log(container, restarts - 1)
        return path if restarts and path.exists() else None

    def prune_logs(self, restarts: int) -> None:
        """Removes the logs of runs before the previous one, rotated files too."""
        for path in self.path.glob("logs/*/*.log*"):
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) <= restarts - _KEPT_LOGS:
                path.unlink(missing_ok=True)

    def make(self) -> None:
        """Makes the folder, which the node's user alone may read: it holds secrets. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.volumes.mkdir(mode=0o700, exist_ok=True)

    def save_manifest(self, pod: Object) -> None:
        """Writes the Pod. Raises OSError."""
        write_atomically(self.manifest, json.dumps(pod))

    def load_manifest(self) -> Object | None:
        """The Pod as it was last seen; None if there is no readable one."""
        try:
            pod = json.loads(self.manifest.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return pod if shape_problem(pod) is None else None

    def remove(self) -> None:
        """Removes the folder with everything in it; what cannot be removed stays, and is logged."""
        if (failure := remove_tree(str(self.path))) and self.path.exists():
            logger.warning("%s of a Pod that has ended cannot be removed: %s", self.path, failure.strerror or failure)
