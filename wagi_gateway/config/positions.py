"""The lines of a TOML file's keys, which tomllib does not report.

The file is cut into its expressions (header, or key and value), each of which tomllib reads by itself: an expression
ends with the first line at which tomllib accepts it.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import Problem
from .file import is_too_deep

KeyPath = tuple[str | int, ...]
"""Keys, and the index of a table in an array of tables: `("module", 0, "route")`."""

_MAX_PARSED = 2**20
"""Characters that are given to tomllib, those of an expression of several lines again and again. Beyond it the rest of
the file has no lines."""
_CLOSERS = ("]", "}", '"""', "'''")
"""What the last line of an expression of several lines has."""
_TABLE = re.compile(r": \[\[(module|static)\]\] (\d+)\b")
_AT_LINE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_END_OF_NAME = re.compile(r"[ :.=]|\Z")
"""What stands behind the name of a key in a message."""
_MAX_NAME = 1000
"""Characters of a name that is looked for."""


class KeyPositions:
    """The lines of the keys and headers of one file, counted from 1."""

    def __init__(self, path: Path, text: str) -> None:
        """A file that is not TOML has no keys."""
        self._path = str(path)
        self._end = text.rstrip().count("\n") + 1
        self._lines: dict[KeyPath, int] = {}
        self._tables: Counter[KeyPath] = Counter()
        """The number of tables that each array of tables has so far."""
        self._header: KeyPath = ()
        for line, expression, tables in _expressions(text):
            self._add(line, expression, tables)

    @classmethod
    def read(cls, path: Path) -> KeyPositions:
        """Reads the positions in a file; none of a file that cannot be read."""
        try:
            return cls(path, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            return cls(path, "")

    def line(self, *key: str | int) -> int | None:
        """The line of a key or header."""
        return self._lines.get(key)

    def line_of(self, problem: Problem) -> int | None:
        """The line of the key that a problem or warning begins with, else that of its table; None if there is none."""
        if not problem.where.startswith(self._path):
            return None
        if found := _AT_LINE.search(problem.what):
            return int(found[1] or self._end)
        table = _TABLE.match(problem.where, len(self._path))
        base: KeyPath = (table[1], int(table[2]) - 1) if table else ()
        return self._named(base, problem.what) or self.line(*base)

    def _named(self, base: KeyPath, what: str) -> int | None:
        """The line of the longest key below `base` with which a text begins."""
        lines = self._spelled.get(base, {})
        ends = [match.start() for match in _END_OF_NAME.finditer(what, 0, _MAX_NAME)]
        return next((lines[name] for end in reversed(ends) if (name := what[:end]) in lines), None)

    @cached_property
    def _spelled(self) -> dict[KeyPath, dict[str, int]]:
        """The lines of keys by their spellings, below the whole file and below each table of _TABLE."""
        found: dict[KeyPath, dict[str, int]] = {}
        for key, line in self._lines.items():
            is_in_table = len(key) > 2 and key[0] in ("module", "static")
            for base in (key[:0], key[:2]) if is_in_table else (key[:0],):
                lines = found.setdefault(base, {})
                for name in _spellings(key[len(base) :]):
                    lines.setdefault(name, line)
        return found

    def _add(self, line: int, expression: str, tables: dict[str, Any]) -> None:
        if expression.startswith("["):
            self._header = self._open(list(_names(tables)), is_array=expression.startswith("[["))
            self._lines.setdefault(self._header, line)
        else:
            for key in _keys(tables):
                self._lines.setdefault(self._header + key, line)

    def _open(self, names: list[str], *, is_array: bool) -> KeyPath:
        """The path of a header: within an array of tables it is about the last table."""
        path: KeyPath = ()
        for number, name in enumerate(names):
            path += (name,)
            if is_array and number == len(names) - 1:
                self._tables[path] += 1
            if path in self._tables:
                path += (self._tables[path] - 1,)
        return path


def _expressions(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The expressions of a text: the first line, the text from there on, and the tables that tomllib reads in it."""
    begin, expression, left = 0, "", _MAX_PARSED
    for number, line in enumerate(text.split("\n"), start=1):
        if not expression:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            begin, expression = number, line.lstrip()
        else:
            expression += f"\n{line}"
            if not any(closer in line for closer in _CLOSERS):
                continue
        left -= len(expression)
        if left < 0:
            return
        try:
            tables = tomllib.loads(expression)
        except (ValueError, RecursionError):  # TOMLDecodeError, or that of a long number
            continue
        if is_too_deep(tables):
            return
        yield begin, expression, tables
        expression = ""


def _names(tables: dict[str, Any]) -> Iterator[str]:
    """The names in a header."""
    value: Any = tables
    while value:
        value = value[0] if isinstance(value, list) else value
        if not value:
            return
        ((name, value),) = value.items()
        yield name


def _keys(value: Any) -> Iterator[KeyPath]:
    """The paths of all keys in a value, each before those below it."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(value, dict) or isinstance(inner, dict):
            yield (key,)
            for below in _keys(inner):
                yield (key, *below)


def _spellings(key: KeyPath) -> set[str]:
    """The spellings of a key in messages: names in quotes where TOML wants them, and all names bare."""
    names = [name for name in key if isinstance(name, str)]
    return {".".join(names), ".".join(name if _BARE.fullmatch(name) else f'"{name}"' for name in names)}
