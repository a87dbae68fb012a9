"""`subPath`: a part of a volume, reached without following a symbolic link that a guest has put there."""

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
