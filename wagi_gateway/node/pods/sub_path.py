"""`subPath`: a directory below a volume, made without following a symbolic link that a guest has put there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .volume_files import BadVolume

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_sub_path(volume: Path, path: str) -> None:
    """Makes the directory `path` below a volume that guests may write to (CVE-2017-1002101). Raises BadVolume."""
    descriptor = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in filter(None, path.split("/")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=descriptor)
            inner = os.open(name, _FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except OSError as error:
        raise BadVolume(f"subPath {path[:200]}: {error.strerror}; a guest opens directories only") from None
    finally:
        os.close(descriptor)


def check_sub_path(volume: Path, path: str) -> None:
    """Raises BadVolume for a `subPath` of a volume with the cluster's files that is no directory."""
    if not (volume / path).is_dir():
        raise BadVolume(f"subPath {path[:200]}: no such directory; a guest opens directories only, mount the volume")
