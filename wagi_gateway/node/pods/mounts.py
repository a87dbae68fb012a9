"""The `volumeMounts` of a container with their `subPath`, each as a mount of a directory.

A guest opens directories only. A file of the cluster that is mounted at `/etc/app.conf` is the only file of a directory
at `/etc`: a module brings no other files with it. As with a kubelet, such a mount does not follow later changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ...config.pod.variables import expand
from ...site.temporary import remove_tree
from ..api import Object
from .sub_path import link_files, make_sub_path
from .volume_files import MAX_FILES, BadVolume, current_files
from .volume_kinds import READ_ONLY, VolumeNotReady, kind_of

_MAX_SUB_PATH = 4096
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


class VolumeMounts(NamedTuple):
    """The mounts of one container."""

    volume_mounts: list[Object]
    """`volumeMounts` without `subPathExpr`, and without files."""
    directories: dict[str, Path]
    """The volumes that stand for a `subPath` of the cluster's files, by a name that no volume of a Pod has."""


class MadeVolume(NamedTuple):
    """A volume of the Pod, and its directory on the node."""

    spec: Object
    path: Path
    beneath: Path | None = None
    """The directory above it that guests of other Pods may write to, too."""


def make_mounts(
    container: Object, volumes: Mapping[str, MadeVolume], environment: Mapping[str, str], target: Path
) -> VolumeMounts:
    """Makes what the mounts of a container need; `target` is a directory for the files of its `subPath`s.

    Raises VolumeNotReady, OSError.
    """
    remove_tree(str(target))
    made = _Making(container["name"], target)
    for mount in container.get("volumeMounts") or ():
        try:
            made.add(mount, volumes.get(mount["name"]), environment)
        except BadVolume as error:
            raise VolumeNotReady(mount["name"], str(error)) from None
    made.check_places()
    return VolumeMounts(made.mounts, made.directories)


class _Making:
    """The mounts of one container while they are made."""

    def __init__(self, container: str, target: Path) -> None:
        self.mounts: list[Object] = []
        self.directories: dict[str, Path] = {}
        self._container = container
        self._target = target
        self._files: dict[str, str] = {}
        """The volume name of each directory with files that are mounted one by one."""
        self._links = 0

    def add(self, mount: Object, volume: MadeVolume | None, environment: Mapping[str, str]) -> None:
        """Adds a mount. Raises BadVolume, OSError."""
        path = sub_path_of(mount, environment)
        if not path or volume is None:
            self.mounts.append(mount)
        elif kind_of(volume.spec) in READ_ONLY:
            self._add_files(_source(volume, path), PurePosixPath(mount["mountPath"]))
        else:
            make_sub_path(volume.path, path, volume.beneath)
            self.mounts.append({**mount, "subPath": path})

    def check_places(self) -> None:
        """Raises VolumeNotReady if a volume is mounted where files are mounted one by one."""
        for mount in self.mounts:
            place = str(PurePosixPath(mount["mountPath"]))
            if mount["name"] != self._files.get(place, mount["name"]):
                what = f"it is mounted in {place}, and so is a file; mount the file in a directory of its own"
                raise VolumeNotReady(mount["name"], what)

    def _add_files(self, source: Path, place: PurePosixPath) -> None:
        """Adds the mount of a directory, or of a file to those of its parent directory."""
        if source.is_file():
            if not place.name:
                raise BadVolume(f"{source.name[:200]} is a file, which cannot be mounted in the place of /")
            if (parent := str(place.parent)) not in self._files:
                self._files[parent] = self._add_directory(parent)
            target = self.directories[self._files[parent]] / place.name
        else:
            target = self.directories[self._add_directory(str(place))]
        self._links += link_files(source, target)
        if self._links > MAX_FILES:
            raise BadVolume(f"more than {MAX_FILES} files in the subPaths of container {self._container}")

    def _add_directory(self, place: str) -> str:
        number = len(self.directories)
        name = f"subPath {number} of {self._container}"
        self.directories[name] = self._target / str(number)
        self.mounts.append({"name": name, "mountPath": place, "readOnly": True})
        return name


def sub_path_of(mount: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """`subPath`, or `subPathExpr` with the values of its variables. Raises BadVolume."""
    path = mount.get("subPath") or ""
    if expression := mount.get("subPathExpr"):
        for match in _REFERENCE.finditer(expression):
            if match[1] is not None and match[1] not in environment:
                raise BadVolume(f"subPathExpr {expression[:200]}: missing value for {match[1][:100]!r}")
        try:
            path = expand(expression, environment, _MAX_SUB_PATH)
        except ValueError:
            raise BadVolume(f"subPathExpr {expression[:200]}: longer than {_MAX_SUB_PATH} characters") from None
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise BadVolume(f'subPath {path[:200]!r}: must be a relative path without ".."')
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _source(volume: MadeVolume, path: str) -> Path:
    """The file or directory of a `subPath`. One of an optional object that does not exist is an empty directory."""
    source = current_files(volume.path) / path
    if source.exists():
        return source
    projected = volume.spec.get("projected")
    parts = [volume.spec] if projected is None else projected.get("sources") or []
    if any(isinstance(one, dict) and one.get("optional") for part in parts for one in part.values()):
        return source
    raise BadVolume(f"subPath {path[:200]}: the volume has no such file")
