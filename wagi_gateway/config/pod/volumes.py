"""`volumes` and `volumeMounts`: the host's directories that a container's guests may open."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fields import EMPTY_DIR, HOST_PATH, MOUNT, VOLUME
from .mapping import ManifestMapping, nearest, quote

_TYPES = ("Directory", "DirectoryOrCreate")
_NO_DIRECTORIES = ("File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice")


@dataclass(slots=True)
class PodVolume:
    """One entry of `spec.volumes`: the host's directory `path`, or a temporary directory."""

    table: ManifestMapping
    path: str | None = None
    kind: str = "emptyDir"
    is_usable: bool = True
    is_mounted: bool = False


class PodVolumes:
    """The volumes of a Pod by name."""

    def __init__(self, spec: ManifestMapping) -> None:
        self._volumes: dict[str, PodVolume] = {}
        for table in spec.tables("volumes", as_objects=True):
            name = table.text("name", needed="volumeMounts refer to it")
            volume = _read_volume(table)
            if name is None:
                continue
            if name in self._volumes:
                table.problem("name", "another volume has this name; give it one of its own")
            self._volumes.setdefault(name, volume)

    def mounts(self, container: ManifestMapping) -> dict[str, Any]:
        """The `volumes` of a container's `[[module]]`."""
        mounts: dict[str, Any] = {}
        for table in container.tables("volumeMounts"):
            table.check_fields(MOUNT)
            name = table.text("name", needed="it names one of spec.volumes")
            guest = _guest_path(table)
            is_read_only = table.flag("readOnly")
            sub_path = _sub_path(table)
            if name is None or guest is None or sub_path is None:
                continue
            if guest in mounts:
                table.problem("mountPath", "another volume is mounted there; mount it elsewhere")
                continue
            if name not in self._volumes:
                table.problem("name", f"there is no such volume in spec.volumes{table.nearest(name, self._volumes)}")
                continue
            volume = self._volumes[name]
            volume.is_mounted = True
            source = _source(volume, name, table, sub_path)
            if source:
                mounts[guest] = source | {"read_only": True} if is_read_only else source.get("path", source)
        return mounts

    def check_kinds(self) -> None:
        """Adds a problem for each unsupported volume that is mounted, else a warning."""
        for volume in self._volumes.values():
            policy = VOLUME.get(volume.kind)
            if policy is None or policy.kind != "error":
                continue
            if volume.is_mounted:
                volume.table.problem(volume.kind, f"not supported; {policy.why}")
            else:
                volume.table.warning(volume.kind, "not supported, and not mounted by a container that is served")


def _read_volume(table: ManifestMapping) -> PodVolume:
    unknown = [key for key in table.values if key not in VOLUME]
    for key in unknown:
        table.unknown("field", key, VOLUME)
    kinds = [key for key, value in table.values.items() if key in VOLUME and key != "name" and value is not None]
    if len(kinds) > 1:
        table.problem(kinds[1], f"a volume is of one kind, and {kinds[0]} stands there too; remove one")
        return PodVolume(table, is_usable=False)
    if kinds == ["hostPath"]:
        path = _host_path(table.table("hostPath"))
        return PodVolume(table, path, "hostPath", is_usable=path is not None)
    if kinds in ([], ["emptyDir"]):  # the default in Kubernetes is emptyDir
        table.table("emptyDir").check_fields(EMPTY_DIR)
        return PodVolume(table, is_usable=not unknown)
    return PodVolume(table, kind=kinds[0], is_usable=False)


def _host_path(table: ManifestMapping) -> str | None:
    table.check_fields(HOST_PATH)
    path = table.text("path", needed="it is a directory of this host")
    kind = table.text("type") or "Directory"
    if kind in _NO_DIRECTORIES:
        table.problem("type", "a guest opens directories only; mount the directory that holds it")
        return None
    if kind not in _TYPES:
        table.problem("type", f"not a type of hostPath{nearest(kind, _TYPES)}")
    elif kind == "DirectoryOrCreate":
        table.warning("type", "the directory is not made here; it must be there when the gateway starts")
    if path is None:
        return None
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        table.problem("path", 'must be an absolute path without ".."')
        return None
    return path


def _guest_path(mount: ManifestMapping) -> str | None:
    path = mount.text("mountPath", needed='it is the guest\'s name for the directory, such as "/data"')
    if path is None:
        return None
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    if not path.startswith("/") or ".." in segments or "\0" in path:
        mount.problem("mountPath", 'must be an absolute path without "..", such as "/data"')
        return None
    return "/" + "/".join(segments)


def _sub_path(mount: ManifestMapping) -> str | None:
    """The path inside the volume; None if there is a problem."""
    path = mount.text("subPath") or ""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        mount.problem("subPath", 'must be a relative path without ".."; it starts in the volume')
        return None
    return "/".join(segment for segment in path.split("/") if segment not in ("", "."))


def _source(volume: PodVolume, name: str, mount: ManifestMapping, sub_path: str) -> dict[str, Any] | None:
    if not volume.is_usable:
        return None
    if volume.path is None:
        if sub_path:
            mount.problem("subPath", "not supported in an emptyDir; give it an emptyDir of its own")
            return None
        return {"temporary": name}
    if not sub_path:
        return {"path": volume.path}
    path = Path(volume.path, sub_path)
    # CVE-2017-1002101: a guest that may write to the volume can replace the subPath by a symbolic link.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(volume.path)):
        mount.problem("subPath", f"a symbolic link leads it out of the volume {quote(volume.path)}; mount its target")
        return None
    return {"path": str(path)}
