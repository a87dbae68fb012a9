"""Lines of source files around the place of a trap, from the configuration's directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

AROUND = 5
"""Lines before and after."""
_NOT_SOURCES = frozenset({".toml", ".yaml", ".yml", ".json", ".env", ".pem", ".key", ".crt"})
"""Suffixes of files that may hold secrets; a compiler writes none of them as the source of a function."""
_MAX_FILE = 2 * 1024 * 1024
_MAX_LINE = 400


class SourceLine(NamedTuple):
    """A line of a source file."""

    number: int
    text: str


def source_lines(base: Path, name: str, line: int, around: int = AROUND) -> tuple[str, list[SourceLine]] | None:
    """The path below `base` and the lines around `line`; None for a file elsewhere or that cannot be read.

    A debug section names the file: the name is hostile. Symbolic links are resolved before the check.
    """
    try:
        root = base.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        below = path.relative_to(root)
        if any(part.startswith(".") for part in below.parts) or path.suffix.lower() in _NOT_SOURCES:
            return None
        if not path.is_file() or path.stat().st_size > _MAX_FILE:
            return None
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except (OSError, ValueError):
        return None
    first = max(1, line - around)
    shown = lines[first - 1 : line + around]
    return str(below), [SourceLine(first + at, text[:_MAX_LINE]) for at, text in enumerate(shown)]
