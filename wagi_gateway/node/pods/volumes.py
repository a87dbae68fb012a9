"""The volumes of a Pod as directories below its folder, or of the node.

`configMap`, `secret`, `projected` and `downwardAPI` are files that are written anew when their sources change;
`emptyDir` is a directory that lives as long as the Pod; `hostPath` is one of the node's, where the ceiling permits it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..api import Api, Object
from .ceiling import HostPath, PodCeiling
from .downward import DownwardFields, UnknownField
from .mounts import MadeVolume
from .references import ReferenceMissing, References
from .service_account_token import ServiceAccountTokens, TokenForbidden
from .sub_path import make_beneath
from .threads import in_thread
from .volume_files import BadVolume, VolumeFile, write_files
from .volume_kinds import SUPPORTED, VolumeNotReady, kind_of

_OF_ADMISSION = "kube-api-access-"
"""The name of the volume with a token that the API server adds to each Pod begins so; few Pods need it."""
_DEFAULT_MODE = 0o644
MAX_BYTES = 64 * 2**20
MAX_FILES = 20_000
"""Bytes and number of the cluster's files in all volumes of a Pod: each may hold one ConfigMap many times."""
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class VolumeDirectories:
    """Makes and refreshes the volumes of one Pod."""

    def __init__(self, api: Api, pod: Object, directory: Path, fields: DownwardFields, ceiling: PodCeiling) -> None:
        """`directory` is the one that holds a directory for each volume."""
        self._api = api
        self._pod = pod
        self._directory = directory
        self._fields = fields
        self._ceiling = ceiling
        self._tokens = ServiceAccountTokens(api, pod)
        self._host_paths: dict[str, HostPath] = {}
        """The directory of each `hostPath` volume by name, once it is checked."""
        self.warnings: set[str] = set()
        """What volumes lack that are written nevertheless."""

    @property
    def paths(self) -> dict[str, Path]:
        """The directory of each volume by name."""
        return {volume["name"]: self._path(volume) for volume in self._volumes()}

    @property
    def host_paths(self) -> tuple[HostPath, ...]:
        """The directories of the node that are volumes."""
        return tuple(self._host_paths.values())

    def update(self, pod: Object, fields: DownwardFields) -> None:
        """Takes another version of the Pod, whose labels and annotations may have changed."""
        self._pod, self._fields = pod, fields

    async def write(self, now: float) -> list[str]:
        """Makes every volume at the time `now` of a clock that is not set; the names of those whose files have changed.

        Raises VolumeNotReady for the first volume that cannot be made, after the others, ApiError and ApiUnreachable.
        """
        references = References(self._api, self._pod["metadata"]["namespace"])
        changed, failures = [], []
        room = _Room()
        for volume in self._volumes():
            try:
                if await self._write(volume, references, now, room):
                    changed.append(volume["name"])
            except (ReferenceMissing, UnknownField, BadVolume, TokenForbidden) as error:
                failures.append(VolumeNotReady(volume["name"], str(error)))
            except OSError as error:
                failures.append(VolumeNotReady(volume["name"], error.strerror or str(error)))
        if failures:
            raise failures[0]
        return changed

    def made(self) -> dict[str, MadeVolume]:
        """The volumes by name."""
        host = self._host_paths
        return {
            name: MadeVolume(volume, self._path(volume), host[name].beneath if name in host else None)
            for volume in self._volumes()
            for name in [volume["name"]]
        }

    def _volumes(self) -> list[Object]:
        return self._pod["spec"].get("volumes") or []

    def _path(self, volume: Object) -> Path:
        name = str(volume["name"])
        return self._host_paths[name].path if name in self._host_paths else self._directory / name

    async def _write(self, volume: Object, references: References, now: float, room: _Room) -> bool:
        kind, path = kind_of(volume), self._path(volume)
        source = volume.get(kind) or {}
        if kind == "emptyDir":
            path.mkdir(mode=0o777, parents=True, exist_ok=True)
            return False
        if kind == "hostPath":
            self._host_paths[volume["name"]] = self._made_host_path(source)
            return False
        if kind not in SUPPORTED:
            raise BadVolume(f"{kind} is not supported on this node; supported are {', '.join(SUPPORTED)}")
        mode = source.get("defaultMode")
        mode = _DEFAULT_MODE if mode is None else int(mode)
        files: dict[str, VolumeFile] = {}
        for part in source.get("sources") or () if kind == "projected" else ({kind: source},):
            try:
                found = await self._files(part, references, mode, now)
                room.take(found)
                files |= found
            except TokenForbidden as error:
                if not str(volume["name"]).startswith(_OF_ADMISSION):
                    raise
                self.warnings.add(f'volume "{volume["name"]}" has no token: {error}')
        return await in_thread(write_files, path, files)

    def _made_host_path(self, source: Object) -> HostPath:
        found = self._ceiling.host_path(str(source["path"]))
        if source.get("type") == "DirectoryOrCreate":
            found.beneath.mkdir(mode=0o755, parents=True, exist_ok=True)
            make_beneath(found.beneath, str(found.path.relative_to(found.beneath)))
        if not found.path.is_dir():
            what = "there is no such directory on the node, and a guest opens no file alone"
            raise BadVolume(f"hostPath {source['path']}: {what}")
        return found

    async def _files(self, part: Object, references: References, mode: int, now: float) -> dict[str, VolumeFile]:
        """The files of one source of a `projected` volume, or of the only source of another kind."""
        if (source := part.get("configMap")) is not None:
            values = await references.config_map(source["name"], optional=bool(source.get("optional")))
            return _select(values, source, mode)
        if (source := part.get("secret")) is not None:
            name = source.get("secretName") or source.get("name") or ""
            values = await references.secret(name, optional=bool(source.get("optional")))
            return _select(values, source, mode)
        if (source := part.get("downwardAPI")) is not None:
            room, files = _Room(), {}
            for item in source.get("items") or ():
                files[item["path"]] = VolumeFile(self._downward(item).encode(), _mode(item, mode))
                room.take({item["path"]: files[item["path"]]})
            return files
        if (source := part.get("serviceAccountToken")) is not None:
            token = await self._tokens.token(source, now)
            return {source["path"]: VolumeFile(token.encode(), 0o600)}
        raise BadVolume(f"{', '.join(part)[:100]} is not supported in a projected volume on this node")

    def _downward(self, item: Object) -> str:
        if reference := item.get("fieldRef"):
            return self._fields.file(reference["fieldPath"])
        return self._fields.resource("", item.get("resourceFieldRef") or {})


class _Room:
    """What the volumes of a Pod may still hold."""

    def __init__(self) -> None:
        self._bytes, self._files = MAX_BYTES, MAX_FILES

    def take(self, files: Mapping[str, VolumeFile]) -> None:
        """Counts the files of one source. Raises BadVolume."""
        self._bytes -= sum(len(file.content) for file in files.values())
        self._files -= len(files)
        if self._bytes < 0 or self._files < 0:
            raise BadVolume(f"all volumes of the Pod have more than {MAX_FILES} files or {MAX_BYTES} bytes; divide it")


def _select(values: Mapping[str, bytes], source: Object, mode: int) -> dict[str, VolumeFile]:
    """The files of an object's keys: all of them, or those of `items`. Raises ReferenceMissing, BadVolume."""
    items = source.get("items")
    if not items:
        if bad := next((key for key in values if not _KEY.fullmatch(key) or key.startswith("..")), None):
            raise BadVolume(f"the key {bad[:100]!r} is not a file name")
        return {key: VolumeFile(value, mode) for key, value in values.items()}
    files = {}
    for item in items:
        if item["key"] in values:
            files[item["path"]] = VolumeFile(values[item["key"]], _mode(item, mode))
        elif not source.get("optional"):
            raise ReferenceMissing(f"references non-existent key: {item['key']}")
    return files


def _mode(item: Object, default: int) -> int:
    return default if item.get("mode") is None else int(item["mode"])
