"""Spin's `files` as read-only volumes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .manifest import SpinFiles

_WILDCARD = re.compile(r"[*?\[{]")
_ALL = ("*", "**", "**/*")
"""Patterns of all files of a directory."""


class ConvertedFiles(NamedTuple):
    """The table `volumes`, and a sentence for each entry that is no directory."""

    volumes: dict[str, Any]
    doubts: list[str]


def convert_files(files: Iterable[SpinFiles], base: Path) -> ConvertedFiles:
    """Converts the files of a component; `base` is the directory of the manifest."""
    volumes: dict[str, Any] = {}
    doubts: list[str] = []
    for entry in files:
        try:
            source, destination = _directory(entry)
            if (base / source).is_file():
                raise ValueError("a volume is a directory; put the file into one of its own")
        except ValueError as error:
            doubts.append(f"files: {entry.pattern or entry.source}: {error}, and name that in volumes")
            continue
        if destination in volumes:
            doubts.append(f"files: {source} is left out, because {destination} is {volumes[destination]['path']}")
            continue
        volumes[destination] = {"path": source, "read_only": True}
        if (entry.pattern or "").endswith("/*") and not (entry.pattern or "").endswith("**/*"):
            doubts.append(f"files: {entry.pattern}: the volume {destination} has the directories below it, too")
    return ConvertedFiles(volumes, doubts)


def _directory(entry: SpinFiles) -> tuple[str, str]:
    """The directory of an entry on the host, and the guest's path. Raises ValueError."""
    if entry.pattern is None:
        if not entry.source or not entry.destination:
            raise ValueError("has no source or no destination; choose a directory")
        return entry.source.rstrip("/") or "/", "/" + entry.destination.strip("/")
    fixed = _WILDCARD.split(entry.pattern)[0]
    directory = fixed.rpartition("/")[0]
    rest = entry.pattern[len(directory) :].lstrip("/")
    if directory and rest in _ALL:
        return directory, "/" + directory.removeprefix("./").strip("/")
    raise ValueError("a volume is a directory; put the files into one of their own")
