"""The files that a module is built from, by the patterns of `build.watch`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

MAX_FILES = 100_000
"""Files below a directory that are looked at."""
_UNWATCHED = frozenset({".git", ".venv", "node_modules", "target", "zig-out"})
"""Directories of tools and their output. A pattern that names one of them sees its files."""
_PIECE = re.compile(r"(\*\*/|\*\*|\*|\?)")
_PIECES = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class WatchPatterns:
    """Patterns of paths below a directory: `*` and `?` within a segment, `**` for any number of segments.

    >>> WatchPatterns(["src/**", "Cargo.*"]).matches(PurePath("src/a/b.rs"))
    True
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Patterns with `..` or a root match nothing."""
        self._patterns = tuple(os.path.normpath(pattern) for pattern in patterns)
        self._regex = re.compile("|".join(map(_regex, self._patterns)) or "(?!)", re.DOTALL)

    def matches(self, path: PurePath) -> bool:
        """Whether a path, relative to the directory, matches a pattern."""
        return self._regex.fullmatch(path.as_posix()) is not None

    def files(self, directory: Path) -> Iterator[Path]:
        """The files of a directory that match, of its first 100,000; linked directories are not entered."""
        named = {segment for pattern in self._patterns for segment in pattern.split("/")}
        count = 0
        for folder, folders, names in os.walk(directory):
            folders[:] = sorted(set(folders) - (_UNWATCHED - named))
            for name in names:
                count += 1
                if count > MAX_FILES:
                    return
                path = Path(folder, name)
                if self.matches(path.relative_to(directory)):
                    yield path


def _regex(pattern: str) -> str:
    return "".join(_PIECES.get(piece) or re.escape(piece) for piece in _PIECE.split(pattern))
