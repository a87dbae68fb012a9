"""The files of a volume, replaced all at once as a kubelet does.

    config            -> ..data/config            what a guest opens
    ..data            -> ..2026-11-30T12:00:00.1  replaced by rename(2)
    ..2026-11-30T12:00:00.1/config                one generation of the files

Source: AtomicWriter of the kubelet (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import GatewayError
from ...site.temporary import remove_tree

MAX_FILES = 10_000
MAX_BYTES = 16 * 2**20
"""Bytes of all files of a volume; a ConfigMap or Secret has at most 1 MiB."""
_MAX_PATH, _MAX_SEGMENT, _MAX_DEPTH = 4096 - 512, 255, 100
_LINK = "..data"
_GENERATION = re.compile(r"\.\.[0-9a-f]{16}")


class VolumeFile(NamedTuple):
    """The content of a file and its permissions."""

    content: bytes
    mode: int = 0o644


class BadVolume(GatewayError):
    """A path that leads out of the volume, two files of one path, or more than a bound allows."""


def check_path(path: str) -> str:
    """The path of a file inside a volume, without empty segments. Raises BadVolume."""
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    if path.startswith("/") or not segments or ".." in segments or "\0" in path:
        raise BadVolume(f'the path {path[:100]!r} must be relative, without ".."')
    if segments[0].startswith(".."):
        raise BadVolume(f'the path {path[:100]!r} must not begin with ".."')
    is_long = len(path) > _MAX_PATH or any(len(segment.encode()) > _MAX_SEGMENT for segment in segments)
    if is_long or len(segments) > _MAX_DEPTH:
        raise BadVolume(f"the path {path[:100]!r} is too long")
    return "/".join(segments)


def write_files(directory: Path, files: Mapping[str, VolumeFile]) -> bool:
    """Makes `files` the content of a directory, atomically; False if the content is the same already.

    Raises BadVolume, OSError; then the earlier content stays.
    """
    checked = _checked(files)
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    current = _current(directory)
    if current is not None and _is_same(current, checked):
        return False
    generation = directory / f"..{secrets.token_hex(8)}"
    generation.mkdir(mode=0o755)
    try:
        for path, file in checked.items():
            _write(generation / path, file)
        link = directory / f"{_LINK}_tmp"
        link.unlink(missing_ok=True)
        link.symlink_to(generation.name)
        link.rename(directory / _LINK)
    except OSError:
        remove_tree(str(generation))
        raise
    _link_names(directory, {path.partition("/")[0] for path in checked})
    for entry in directory.iterdir():
        if _GENERATION.fullmatch(entry.name) and entry != generation:
            remove_tree(str(entry))
    return True


def current_files(directory: Path) -> Path:
    """The directory of the generation in use, which is never changed. Raises BadVolume before the first one."""
    if (generation := _current(directory)) is None:
        raise BadVolume("the files of the volume are not written yet")
    return generation


def _checked(files: Mapping[str, VolumeFile]) -> dict[str, VolumeFile]:
    checked: dict[str, VolumeFile] = {}
    for path, file in files.items():
        checked[check_path(path)] = file
    if len(checked) > MAX_FILES or sum(len(file.content) for file in checked.values()) > MAX_BYTES:
        raise BadVolume(f"more than {MAX_FILES} files or {MAX_BYTES} bytes")
    for path in checked:
        parents = path.split("/")[:-1]
        for count in range(1, len(parents) + 1):
            if (parent := "/".join(parents[:count])) in checked:
                raise BadVolume(f"{parent[:100]!r} is a file and a directory")
    return checked


def _current(directory: Path) -> Path | None:
    """The directory of the generation in use."""
    with contextlib.suppress(OSError):
        name = os.readlink(directory / _LINK)
        if _GENERATION.fullmatch(name):
            return directory / name
    return None


def _is_same(generation: Path, files: Mapping[str, VolumeFile]) -> bool:
    found = {str(path.relative_to(generation)): path for path in generation.rglob("*") if not path.is_dir()}
    if found.keys() != files.keys():
        return False
    try:
        return all(
            found[path].stat().st_size == len(file.content)
            and found[path].stat().st_mode & 0o777 == _mode(file)
            and found[path].read_bytes() == file.content
            for path, file in files.items()
        )
    except OSError:
        return False


def _write(path: Path, file: VolumeFile) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(file.content)
        os.fchmod(opened.fileno(), _mode(file))


def _mode(file: VolumeFile) -> int:
    return file.mode & 0o777 | 0o400  # the gateway, which is the owner, reads for the guest


def _link_names(directory: Path, names: set[str]) -> None:
    """Makes one symbolic link for each name, and removes those of earlier generations."""
    for name in names:
        link = directory / name
        with contextlib.suppress(FileExistsError):
            link.symlink_to(f"{_LINK}/{name}")
    for entry in directory.iterdir():
        if entry.is_symlink() and entry.name != _LINK and entry.name not in names:
            entry.unlink()
