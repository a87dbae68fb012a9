"""The volumes of a Pod as directories below its folder, or of the node.

`configMap`, `secret`, `projected` and `downwardAPI` are files that are written anew when their sources change;
`emptyDir` is a directory that lives as long as the Pod; `hostPath` is one of the node's, where the ceiling permits it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ...config.pod.quantity import parse_bytes
from ...config.pod.variables import expand
from ...errors import GatewayError
from ..api import Api, Object
from .ceiling import PodCeiling
from .downward import DownwardFields, UnknownField
from .references import ReferenceMissing, References
from .service_account_token import ServiceAccountTokens, TokenForbidden
from .sub_path import check_sub_path, make_sub_path
from .volume_files import BadVolume, VolumeFile, write_files

SUPPORTED = ("configMap", "secret", "emptyDir", "projected", "downwardAPI", "hostPath")
READ_ONLY = ("configMap", "secret", "projected", "downwardAPI")
"""Kinds whose files a guest cannot change, whatever `readOnly` says (Kubernetes since 1.9.6)."""
_OF_ADMISSION = "kube-api-access-"
"""The name of the volume with a token that the API server adds to each Pod begins so; few Pods need it."""
_DEFAULT_MODE = 0o644
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_MAX_SUB_PATH = 4096
_MAX_ENTRIES = 100_000
"""Entries of an `emptyDir` that are counted; one with more is over its limit."""


class VolumeNotReady(GatewayError):
    """A volume cannot be made, perhaps because an object does not exist yet."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{name}" : {what}')


def kind_of(volume: Mapping[str, object]) -> str:
    """The kind of an entry of `spec.volumes`; without one it is an emptyDir."""
    return next((key for key, value in volume.items() if key != "name" and value is not None), "emptyDir")


def sub_path_of(mount: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """`subPath`, or `subPathExpr` with the values of its variables."""
    if expression := mount.get("subPathExpr"):
        return expand(expression, environment, _MAX_SUB_PATH)
    return mount.get("subPath") or ""


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
        self.warnings: set[str] = set()
        """What volumes lack that are written nevertheless."""

    @property
    def paths(self) -> dict[str, Path]:
        """The directory of each volume by name."""
        return {volume["name"]: self._path(volume) for volume in self._volumes()}

    def update(self, pod: Object, fields: DownwardFields) -> None:
        """Takes another version of the Pod, whose labels and annotations may have changed."""
        self._pod, self._fields = pod, fields

    async def write(self, now: float) -> list[str]:
        """Makes every volume, and returns the names of those whose files have changed.

        Raises VolumeNotReady for the first volume that cannot be made, ApiError and ApiUnreachable.
        """
        references = References(self._api, self._pod["metadata"]["namespace"])
        changed = []
        for volume in self._volumes():
            try:
                if await self._write(volume, references, now):
                    changed.append(volume["name"])
            except (ReferenceMissing, UnknownField, BadVolume, TokenForbidden) as error:
                raise VolumeNotReady(volume["name"], str(error)) from None
            except OSError as error:
                raise VolumeNotReady(volume["name"], error.strerror or str(error)) from None
        return changed

    def make_sub_paths(self, container: Object, environment: Mapping[str, str]) -> None:
        """Makes the `subPath` of each mount of a container. Raises VolumeNotReady."""
        volumes = {volume["name"]: volume for volume in self._volumes()}
        for mount in container.get("volumeMounts") or ():
            path, volume = sub_path_of(mount, environment), volumes.get(mount["name"])
            if not path or volume is None:
                continue
            use = check_sub_path if kind_of(volume) in READ_ONLY else make_sub_path
            try:
                use(self._path(volume), path)
            except BadVolume as error:
                raise VolumeNotReady(volume["name"], str(error)) from None

    def over_limit(self) -> str | None:
        """What is wrong with an `emptyDir` that is larger than its `sizeLimit`; None if none is. Blocks on disk."""
        for volume in self._volumes():
            limit = (volume.get("emptyDir") or {}).get("sizeLimit")
            if limit is None or (bound := parse_bytes(str(limit))) <= 0:
                continue
            if _size(self._path(volume), bound) > bound:
                return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}".'
        return None

    def _volumes(self) -> list[Object]:
        return self._pod["spec"].get("volumes") or []

    def _path(self, volume: Object) -> Path:
        if host_path := volume.get("hostPath"):
            return Path(host_path["path"])
        return self._directory / str(volume["name"])

    async def _write(self, volume: Object, references: References, now: float) -> bool:
        kind, path = kind_of(volume), self._path(volume)
        source = volume.get(kind) or {}
        if kind == "emptyDir":
            path.mkdir(mode=0o777, parents=True, exist_ok=True)
            return False
        if kind == "hostPath":
            self._make_host_path(source, path)
            return False
        if kind not in SUPPORTED:
            raise BadVolume(f"{kind} is not supported on this node; supported are {', '.join(SUPPORTED)}")
        mode = source.get("defaultMode")
        mode = _DEFAULT_MODE if mode is None else int(mode)
        files: dict[str, VolumeFile] = {}
        for part in source.get("sources") or () if kind == "projected" else ({kind: source},):
            try:
                files |= await self._files(part, references, mode, now)
            except TokenForbidden as error:
                if not str(volume["name"]).startswith(_OF_ADMISSION):
                    raise
                self.warnings.add(f'volume "{volume["name"]}" has no token: {error}')
        return write_files(path, files)

    def _make_host_path(self, source: Object, path: Path) -> None:
        self._ceiling.check_host_path(str(path))
        # Not the path's text alone: a symbolic link in it may lead out of what the operator permits.
        self._ceiling.check_host_path(os.path.realpath(path))
        if source.get("type") == "DirectoryOrCreate":
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not path.is_dir():
            raise BadVolume(f"hostPath {path}: there is no such directory on the node")

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
            return {
                item["path"]: VolumeFile(self._downward(item).encode(), _mode(item, mode))
                for item in source.get("items") or ()
            }
        if (source := part.get("serviceAccountToken")) is not None:
            token = await self._tokens.token(source, now)
            return {source["path"]: VolumeFile(token.encode(), 0o600)}
        raise BadVolume(f"{', '.join(part)[:100]} is not supported in a projected volume on this node")

    def _downward(self, item: Object) -> str:
        if reference := item.get("fieldRef"):
            return self._fields.file(reference["fieldPath"])
        return self._fields.resource("", item.get("resourceFieldRef") or {})


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


def _size(directory: Path, bound: int) -> int:
    """The bytes of all files below a directory; more than `bound` once that is clear."""
    total, entries, pending = 0, 0, [str(directory)]
    while pending and total <= bound:
        try:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_size
                    if entries > _MAX_ENTRIES:
                        return bound + 1
        except OSError:  # the guest has removed it
            continue
    return total
