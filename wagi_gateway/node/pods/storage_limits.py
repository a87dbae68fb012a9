"""The limits of a Pod's files on the node: `sizeLimit` of an `emptyDir`, and `limits.ephemeral-storage`.

Source: localStorageEviction of the kubelet (pkg/kubelet/eviction/eviction_manager.go), which measures at times, too.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...config.pod.quantity import parse_bytes
from ..api import Object
from .folder import PodFolder
from .volume_kinds import kind_of

_MAX_ENTRIES = 100_000
"""Entries of a directory that are counted; one with more is over its limit."""


def excess(pod: Object, folder: PodFolder) -> str | None:
    """Why a Pod is evicted; None within its limits. Blocks on disk."""
    total = _limit(pod)
    used = 0
    for volume in pod["spec"].get("volumes") or ():
        if kind_of(volume) != "emptyDir":
            continue
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        bound = _bytes(limit)
        if bound is None and total is None:
            continue
        size = size_of(folder.volumes / volume["name"], _least(bound, total))
        if bound is not None and size > bound:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}".'
        used += size
    if total is not None and used + size_of(folder.path / "logs", total) > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}."
    return None


def size_of(directory: Path, bound: int) -> int:
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
        except FileNotFoundError:  # the guest has removed it
            continue
        except OSError:  # nested so deeply that its path is too long
            return bound + 1
    return total


def _limit(pod: Object) -> int | None:
    """The sum of the containers' `limits.ephemeral-storage`; None if there is none."""
    limits = [((one.get("resources") or {}).get("limits") or {}) for one in pod["spec"]["containers"]]
    values = [_bytes(one.get("ephemeral-storage")) for one in limits]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _bytes(quantity: object) -> int | None:
    """The bytes of a quantity; None without a limit, such as `0`."""
    try:
        return parse_bytes(str(quantity)) or None if quantity is not None else None
    except ValueError:
        return None


def _least(*bounds: int | None) -> int:
    return min(bound for bound in bounds if bound is not None)
