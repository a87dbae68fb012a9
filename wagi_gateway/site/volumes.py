"""Volumes: the directories that guests may open (WASI preopens)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..config.file import ConfigFile
from ..config.settings import VolumeConfig
from ..sandbox.invocation import GuestVolume
from ..sources.file import resolve
from .findings import Findings
from .temporary import TemporaryDirectory


@dataclass(frozen=True, slots=True)
class OpenVolume:
    """An open directory. The descriptor keeps it the same directory, whatever its path leads to later."""

    descriptor: int
    path: Path
    """The configured path, made absolute."""
    read_only: bool

    @property
    def host_path(self) -> bytes:
        """The path of the descriptor in /proc."""
        return b"/proc/self/fd/%d" % self.descriptor

    @property
    def real_path(self) -> Path:
        """The current path, without symbolic links."""
        return Path(os.readlink(f"/proc/self/fd/{self.descriptor}"))


class Volumes:
    """Opens each directory once, and creates temporary ones. `close` closes and removes them."""

    def __init__(self, base: Path, previous: Volumes | None = None) -> None:
        """`base` is the directory of relative paths. Temporary directories of `previous` are reused, and
        `previous` owns them until `take_over`."""
        self.temporary: dict[str, TemporaryDirectory] = {}
        self.warning: str | None = None
        """The warning of the last `open`."""
        self._base = base
        self._previous = previous
        self._descriptors: dict[Path, int] = {}
        self._open: list[OpenVolume] = []

    def open(self, volume: VolumeConfig) -> OpenVolume:
        """Opens a volume's directory. Raises ValueError, OSError."""
        self.warning = None
        path = self._temporary(volume.temporary) if volume.temporary else self._named(volume.path or "")
        if path not in self._descriptors:
            self._descriptors[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened = OpenVolume(self._descriptors[path], path, volume.read_only)
        self._open.append(opened)
        return opened

    def check(self, volume: OpenVolume) -> None:
        """Raises ValueError for a directory inside a writable volume that a guest replaced by a symbolic link, as in
        CVE-2017-1002101. Later replacements have no effect, because the directory is open.
        """
        for outer in self._open:
            is_inside = volume.path != outer.path and volume.path.is_relative_to(outer.path)
            if is_inside and not outer.read_only and not volume.real_path.is_relative_to(outer.real_path):
                raise ValueError(f"a symbolic link leads it out of the volume {outer.path}, which guests may write to")

    def take_over(self, previous: Volumes, *, keep_all: bool = False) -> None:
        """Takes over the temporary directories that both have, or all of them: this object removes them in `close`."""
        for name, directory in list(previous.temporary.items()):
            if keep_all or self.temporary.get(name) is directory:
                self.temporary.setdefault(name, directory)
                del previous.temporary[name]
        self._previous = None

    def close(self) -> None:
        """Closes directories and removes the temporary ones it owns. May be called twice. Raises nothing: a failure
        concerns one directory, and is logged."""
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):  # the descriptor is closed all the same (close(2))
                os.close(descriptor)
        self._descriptors.clear()
        others = self._previous.temporary if self._previous else {}
        for name, directory in self.temporary.items():
            if others.get(name) is not directory:
                directory.cleanup()

    def _temporary(self, name: str) -> Path:
        if name not in self.temporary:
            existing = self._previous.temporary.get(name) if self._previous else None
            self.temporary[name] = existing or TemporaryDirectory()
        return Path(self.temporary[name].name)

    def _named(self, text: str) -> Path:
        resolved = resolve(text, self._base)
        self.warning = resolved.warning
        if not resolved.path.is_dir():
            raise ValueError(f"there is no directory {resolved.path}")
        if not os.access(resolved.path, os.R_OK | os.X_OK):
            raise ValueError(f"{resolved.path} cannot be read")
        return Path(os.path.normpath(resolved.path))


def open_volumes(
    file: ConfigFile, volumes: Volumes, cache: Path | None, logs: Path | None, findings: Findings
) -> list[tuple[GuestVolume, ...]]:
    """The volumes of each `[[module]]`, in order. `cache` and `logs` are directories of the server, None if unused."""
    locations = [findings.at(file.where(number)) for number, _ in enumerate(file.config.module)]
    opened = [
        [(guest, volume, _open(volumes, guest, volume, here)) for guest, volume in config.volumes.items()]
        for here, config in zip(locations, file.config.module, strict=True)
    ]
    # Volumes inside of others are found once all are open.
    return [
        tuple(
            GuestVolume(directory.host_path, guest.encode(), not volume.read_only)
            for guest, volume, directory in some
            if directory and _is_safe(volumes, _key(guest, volume), directory, cache, logs, here)
        )
        for here, some in zip(locations, opened, strict=True)
    ]


def _open(volumes: Volumes, guest: str, volume: VolumeConfig, findings: Findings) -> OpenVolume | None:
    key = _key(guest, volume)
    if not guest or "\0" in guest:
        findings.refuse(f'{key}: write the guest\'s path, such as "/data"')
        return None
    try:
        directory = volumes.open(volume)
    except (OSError, ValueError) as error:
        findings.refuse(f"{key}: {error}")
        return None
    finally:
        if volumes.warning:
            findings.warn(f"{key}: {volumes.warning}")
    return directory


def _is_safe(
    volumes: Volumes, key: str, directory: OpenVolume, cache: Path | None, logs: Path | None, findings: Findings
) -> bool:
    try:
        volumes.check(directory)
    except ValueError as error:
        findings.refuse(f"{key}: {error}")
        return False
    if cache and not directory.read_only and _overlap(directory.real_path, cache):
        what = f"holds the cache {cache}, whose files the server runs; set read_only = true"
        findings.refuse(f"{key}: {what}")
        return False
    if logs and not directory.read_only and _overlap(directory.real_path, logs):
        what = f"holds the logs in {logs}, which guests must not change; choose another log.directory"
        findings.refuse(f"{key}: {what}")
        return False
    return True


def _key(guest: str, volume: VolumeConfig) -> str:
    return f'volumes."{guest}" = "{volume.path or volume.temporary}"'


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)
