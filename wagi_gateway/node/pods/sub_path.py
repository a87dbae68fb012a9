"""`subPath`: a part of a volume, reached without following a symbolic link that a guest has put there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

from .volume_files import BadVolume

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_sub_path(volume: Path, path: str, beneath: Path | None = None) -> None:
    """Makes the directory `path` below a volume that guests may write to (CVE-2017-1002101).

    They may write to everything below `beneath`, without which it is the volume itself. Raises BadVolume.
    """
    root = beneath or volume
    try:
        make_beneath(root, str(volume.relative_to(root) / path))
    except OSError as error:
        raise BadVolume(f"subPath {path[:200]}: {error.strerror}; a guest opens directories only") from None


def make_beneath(directory: Path, path: str) -> None:
    """Makes the directory `path` below another one, following no symbolic link below that. Raises OSError."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in PurePosixPath(path).parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=descriptor)
            inner = os.open(name, _FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    finally:
        os.close(descriptor)


def link_files(source: Path, target: Path) -> int:
    """Makes `target` a hard link of a file of the cluster, or a directory of such links, and returns their number.

    A later generation of the volume's files does not change them. Raises OSError.
    """
    if source.is_file():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.link(source, target)
        return 1
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    return sum(link_files(path, target / path.name) for path in source.iterdir()) if source.exists() else 0
