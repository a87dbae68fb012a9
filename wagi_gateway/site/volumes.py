"""Volumes: the directories that guests may open (WASI preopens)."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ..compiler.component import WarmComponent
from ..compiler.warm_module import WarmGuest
from ..config.file import ConfigFile
from ..config.settings import VolumeConfig
from ..sandbox.beneath import open_directory_beneath
from ..sandbox.devices import GUEST_PATH, NO_HOST, PATH_OPEN
from ..sandbox.invocation import GuestVolume
from ..sources.file import resolve
from .findings import Findings
from .mounts import places
from .temporary import TemporaryDirectory
from .trusted import TooManyEntries, TrustedFiles, names


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
        self._descriptors: dict[tuple[Path, Path | None], int] = {}
        self._open: list[OpenVolume] = []

    def open(self, volume: VolumeConfig) -> OpenVolume:
        """Opens a volume's directory. Raises ValueError, OSError."""
        self.warning = None
        path = self._temporary(volume.temporary) if volume.temporary else self._named(volume.path or "")
        beneath = self._resolved(volume.beneath) if volume.beneath else None
        if (path, beneath) not in self._descriptors:
            self._descriptors[path, beneath] = _open_directory(path, beneath)
        opened = OpenVolume(self._descriptors[path, beneath], path, volume.read_only)
        self._open.append(opened)
        return opened

    def check(self, volume: OpenVolume) -> None:
        """Raises ValueError for a directory inside a writable volume that a guest replaced by a symbolic link, as in
        CVE-2017-1002101. Later replacements have no effect, because the directory is open.
        """
        real = volume.real_path
        on_the_way = places(volume.path)
        for outer in self._open:
            if outer.read_only or outer.descriptor == volume.descriptor:
                continue
            within = outer.real_path
            is_inside = any(place != within and place.is_relative_to(within) for place in on_the_way)
            if is_inside and not real.is_relative_to(within):
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
        path = self._resolved(text)
        if not path.is_dir():
            raise ValueError(f"there is no directory {path}")
        if not os.access(path, os.R_OK | os.X_OK):
            raise ValueError(f"{path} cannot be read")
        return path

    def _resolved(self, text: str) -> Path:
        resolved = resolve(text, self._base)
        self.warning = self.warning or resolved.warning
        return Path(os.path.normpath(resolved.path))


def open_volumes(
    file: ConfigFile, volumes: Volumes, trusted: TrustedFiles, findings: Findings
) -> list[tuple[GuestVolume, ...]]:
    """The volumes of each `[[module]]`, in order. One that a guest may write to holds none of the `trusted` files, is
    in none of their directories, and holds no directory that is published."""
    locations = [findings.at(file.where(number)) for number, _ in enumerate(file.config.module)]
    opened = [
        [(guest, volume, _open(volumes, guest, volume, here)) for guest, volume in config.volumes.items()]
        for here, config in zip(locations, file.config.module, strict=True)
    ]
    advice = "set readOnly: true in volumeMounts" if file.containers else "set read_only = true"
    # Volumes inside of others are found once all are open.
    return [
        tuple(
            GuestVolume(directory.host_path, guest.encode(), not volume.read_only)
            for guest, volume, directory in some
            if directory and _is_safe(volumes, _key(guest, volume), directory, trusted, advice, here)
        )
        for here, some in zip(locations, opened, strict=True)
    ]


def with_devices(volumes: tuple[GuestVolume, ...], module: WarmGuest) -> tuple[GuestVolume, ...]:
    """The volumes of a guest that opens files with `/dev`, unless one of them is or holds that directory."""
    if isinstance(module, WarmComponent) or PATH_OPEN not in module.import_names:
        return volumes
    for volume in volumes:
        path = os.path.normpath(b"/" + volume.guest.lstrip(b"/"))
        if path == GUEST_PATH or (path == b"/" and os.path.lexists(volume.host + GUEST_PATH)):
            return volumes
    return (*volumes, GuestVolume(NO_HOST, GUEST_PATH, is_writable=False)) if volumes else ()


def _open_directory(path: Path, beneath: Path | None) -> int:
    """Opens a directory; no symbolic link leads out of `beneath`. Raises ValueError, OSError."""
    if beneath is None:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not path.is_relative_to(beneath):
        raise ValueError(f"{path} is not below {beneath}; name a directory above it in beneath")
    try:
        return open_directory_beneath(bytes(beneath), bytes(path.relative_to(beneath)))
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        raise ValueError(f"a symbolic link leads it out of {beneath}; remove the link") from None


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
    volumes: Volumes, key: str, directory: OpenVolume, trusted: TrustedFiles, advice: str, findings: Findings
) -> bool:
    try:
        volumes.check(directory)
        if not directory.read_only:
            _check_writable(directory, trusted, advice)
    except (ValueError, OSError) as error:
        findings.refuse(f"{key}: {error}")
        return False
    return True


def _check_writable(directory: OpenVolume, trusted: TrustedFiles, advice: str) -> None:
    """Raises ValueError for a directory in which a guest could change what the gateway reads later, OSError."""
    real = directory.real_path
    if held := trusted.held_by(real):
        raise ValueError(f"it holds {names(held)}, which guests could change; {advice}, or name another directory")
    if inside := trusted.around(real):
        raise ValueError(f"it lies in {inside.name}, which guests could change; {advice}, or name another directory")
    try:
        linked = trusted.linked_in(real)
    except TooManyEntries as error:
        what = f"{error.file.name} has several hard links, and {real} too many entries to search it for one"
        raise ValueError(f"{what}; copy the file, or {advice}") from None
    if linked:
        raise ValueError(f"it holds a hard link of {linked.name}, which guests could change; remove it, or {advice}")


def _key(guest: str, volume: VolumeConfig) -> str:
    return f'volumes."{guest}" = "{volume.path or volume.temporary}"'
