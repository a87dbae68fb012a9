"""The `modules.toml` of a Pod's gateway: the Pod as a manifest without a cluster, and the node's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config.pod.document import value_of
from ...config.pod.manifest import PodFile, read_pod_object
from ...config.pod.toml import write_toml
from ...config.pod.workload import ANNOTATIONS
from ..api import Object
from .ceiling import HostPath
from .mounts import VolumeMounts
from .volume_kinds import READ_ONLY, SUPPORTED, kind_of

DEFAULT_LISTEN = "127.0.0.1:3000"
"""Krustlet's address of a Pod without the annotation `default-host`."""
DEFAULT_GRACE = 30
_CONTAINER = ("name", "image", "imagePullPolicy", "command", "args", "workingDir", "volumeDevices")
"""Fields of a container that the gateway's own reader of manifests treats, or refuses."""
_SPEC = ("initContainers", "hostAliases")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodParts:
    """What a Pod refers to."""

    directories: Mapping[str, Path]
    """The directory of each volume."""
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The variables of each container; of a container that is not in it the literal ones of the Pod are used."""
    mounts: Mapping[str, VolumeMounts] = field(default_factory=dict)
    """The mounts of each container; of a container that is not in it those of the Pod, without `subPathExpr`."""


def read_parts(pod: Object, parts: PodParts) -> PodFile:
    """The tables of a Pod: `server.listen` and a `[[module]]` for each container with a route."""
    metadata, spec = pod["metadata"], pod["spec"]
    kinds = {volume["name"]: kind_of(volume) for volume in spec.get("volumes") or ()}
    annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if name.startswith(ANNOTATIONS)
    }
    plain = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": metadata["name"], "annotations": annotations},
        "spec": {
            **{key: spec[key] for key in _SPEC if key in spec},
            "volumes": [
                *(_volume(volume, parts) for volume in spec.get("volumes") or ()),
                *(_directory(name, path) for made in parts.mounts.values() for name, path in made.directories.items()),
            ],
            "containers": [_container(container, parts, kinds) for container in spec.get("containers") or ()],
        },
    }
    return read_pod_object({key: value_of(value) for key, value in plain.items()}, "Pod")


def _volume(volume: Object, parts: PodParts) -> Object:
    if kind_of(volume) not in SUPPORTED:
        return volume
    return _directory(volume["name"], parts.directories[volume["name"]])


def _directory(name: str, path: Path) -> Object:
    return {"name": name, "hostPath": {"path": str(path)}}


def _container(container: Object, parts: PodParts, kinds: Mapping[str, str]) -> Object:
    environment = parts.environments.get(container["name"])
    literal = {one["name"]: one.get("value") or "" for one in container.get("env") or () if "valueFrom" not in one}
    variables = literal if environment is None else environment
    made = parts.mounts.get(container["name"])
    mounts = container.get("volumeMounts") or () if made is None else made.volume_mounts
    memory = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return {
        **{key: container[key] for key in _CONTAINER if container.get(key)},
        "resources": {"limits": {"memory": memory}} if memory is not None else {},
        # The values are final: a `$` stands for itself.
        "env": [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()],
        "volumeMounts": [_mount(mount, kinds) for mount in mounts],
    }


def _mount(mount: Object, kinds: Mapping[str, str]) -> Object:
    keys = ("name", "mountPath", "subPath", "readOnly")
    plain = {key: mount[key] for key in keys if key in mount}
    if kinds.get(mount.get("name", "")) in READ_ONLY:
        plain["readOnly"] = True
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTables:
    """The settings of the node that every gateway of a Pod gets."""

    cache: Path
    """`cache.directory`, which all gateways share."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """`[limits]`, the defaults of each module."""
    public_addresses_only: bool = True
    """Whether no module reaches private networks."""


def configuration_text(
    pod: Object,
    file: PodFile,
    *,
    images: Mapping[str, str],
    logs: Mapping[str, Path],
    node: NodeTables,
    host_paths: tuple[HostPath, ...] = (),
) -> str:
    """The text of the `modules.toml`.

    `images` has the pinned reference of each container, and `logs` the file for what its guests write to standard
    error; `host_paths` are the directories that are of the node, and not the Pod's own.
    """
    modules = []
    for name, table in zip(file.containers, file.tables.get("module", ()), strict=True):
        module = {**table, "module": f"oci:{images[name]}", "pull_policy": "never"}
        if volumes := module.get("volumes"):
            module["volumes"] = {guest: _beneath(volume, host_paths) for guest, volume in volumes.items()}
        if name in logs:
            module["log_file"] = str(logs[name])
        if node.public_addresses_only and module.get("allowed_hosts"):
            module["public_addresses_only"] = True
        modules.append(module)
    tables: dict[str, Any] = {
        "server": {
            "listen": file.tables.get("server", {}).get("listen", DEFAULT_LISTEN),
            "shutdown_grace": min(int(grace_of(pod)), 3600),
        },
        "cache": {"directory": str(node.cache)},
        "log": {"level": "warning", "access": False, "format": "text"},
        "limits": dict(node.limits),
        "module": modules,
    }
    metadata = pod["metadata"]
    head = f"The gateway of Pod {metadata['namespace']}/{metadata['name']}, written by wagi-gateway node."
    return write_toml(tables, [f"container {name}" for name in file.containers], head=head)


def _beneath(volume: Any, host_paths: tuple[HostPath, ...]) -> Any:
    """An entry of `volumes`, with `beneath` if it is a directory of the node's: guests of another Pod, which may write
    above it, could put a symbolic link there before the gateway opens it."""
    table = {"path": volume} if isinstance(volume, str) else volume
    path = Path(table["path"])
    above = next((one.beneath for one in host_paths if path.is_relative_to(one.path)), None)
    return volume if above is None else {**table, "beneath": str(above)}


def grace_of(pod: Object) -> float:
    """`terminationGracePeriodSeconds` of a Pod."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return float(DEFAULT_GRACE if grace is None else grace)
