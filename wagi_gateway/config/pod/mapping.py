"""A mapping of the manifest that knows its place, so that every mistake in it is said in the words of the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from ...errors import Problem
from .document import Number, Value

_PRIVATE = {"value"}
"""Fields that no message shows: a variable may hold a password."""
_MAX_HINTS, _MAX_NAMES = 100, 1000


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """What becomes of a field: it is read, means nothing here, or is warned about or refused because of `why`.

    `harmless` values mean what is done anyway; empty ones always do.
    """

    kind: Literal["read", "silent", "warning", "error"]
    why: str = ""
    harmless: tuple[Value, ...] = ()


@dataclass(slots=True)
class Report:
    """What was found wrong or doubtful so far."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class ManifestMapping:
    """The fields of one mapping; `null` is a field that is not there, as Kubernetes reads it."""

    values: Mapping[str, Value]
    where: str
    """Which file and which of its objects: `pod.yaml: spec.containers[2] (bar)`."""
    prefix: str
    """The way from there: `env[0] (PORT).`"""
    report: Report
    is_wrong: bool = False
    """Whether something else stands there, which is noted already."""

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def problem(self, key: str, what: str) -> None:
        """Notes what is wrong with a field."""
        self.report.problems.append(self._note(key, what))

    def warning(self, key: str, what: str) -> None:
        """Notes what is doubtful about a field."""
        self.report.warnings.append(self._note(key, what))

    def unknown(self, what: str, key: str, names: Iterable[str], valid: Iterable[str] | None = None) -> None:
        """Notes a name that nothing knows; what stands there may be a secret."""
        hint = self.nearest(key, names, valid)
        self.report.problems.append(Problem(self.where, f"{self.prefix}{named(key)}: unknown {what}{hint}"))

    def nearest(self, name: str, names: Iterable[str], valid: Iterable[str] | None = None) -> str:
        """What was probably meant; the search is slow, so a file that is wrong everywhere gets no more of it."""
        return nearest(name, names, valid) if len(self.report.problems) < _MAX_HINTS else ""

    def _note(self, key: str, what: str) -> Problem:
        value = self.values.get(key)
        written = f" = {shown(value)}" if isinstance(value, (bool, str, Number)) and key not in _PRIVATE else ""
        return Problem(self.where, f"{self.prefix}{named(key)}{written}: {what}")

    def text(self, key: str, needed: str = "") -> str | None:
        """A field's text; None if it is not there, which is wrong if it is `needed` for something."""
        value = self.values.get(key)
        if value is None:
            if needed and not self.is_wrong:
                self.problem(key, f"missing; {needed}")
            return None
        if isinstance(value, str):
            if value or not needed:
                return value
            self.problem(key, f"must not be empty; {needed}")
            return None
        is_scalar = isinstance(value, (bool, Number))
        self.problem(key, "must be text; put it in quotes" if is_scalar else "must be text")
        return None

    def flag(self, key: str) -> bool:
        """A field that is true or false, false if it is not there."""
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.problem(key, "must be true or false")
        return False

    def table(self, key: str) -> ManifestMapping:
        """A mapping inside this one; empty if it is not there."""
        value = self.values.get(key)
        prefix = f"{self.prefix}{named(key)}."
        if isinstance(value, dict):
            return ManifestMapping(value, self.where, prefix, self.report)
        if value is not None:
            self.problem(key, "must be a mapping")
        return ManifestMapping({}, self.where, prefix, self.report, self.is_wrong or value is not None)

    def items(self, key: str) -> Iterator[Value]:
        """The items of a list; none if it is not there."""
        value = self.values.get(key)
        if isinstance(value, list):
            yield from value
        elif value is not None:
            self.problem(key, "must be a list")

    def tables(self, key: str, *, apart: bool = False) -> Iterator[ManifestMapping]:
        """The mappings of a list, each known by its number and name; `apart` ones are objects of their own."""
        for number, value in enumerate(self.items(key)):
            path = f"{self.prefix}{key}[{number}]"
            if not isinstance(value, dict):
                self.report.problems.append(Problem(self.where, f"{path}: must be a mapping"))
                continue
            if isinstance(name := value.get("name"), str) and name:
                path += f" ({named(name)})"
            yield (
                ManifestMapping(value, f"{self.where}: {path}", "", self.report)
                if apart
                else ManifestMapping(value, self.where, f"{path}.", self.report)
            )

    def judge(self, fates: Mapping[str, FieldPolicy]) -> None:
        """Notes the fields that are unknown, refused or without effect."""
        for key, value in self.values.items():
            fate = fates.get(key)
            if fate is None:
                valid = [name for name, fate in fates.items() if fate.kind != "error"]
                self.unknown("field", key, fates, valid)
            elif not value or value in fate.harmless:
                continue
            elif fate.kind == "error":
                self.problem(key, fate.why)
            elif fate.kind == "warning":
                self.warning(key, fate.why)


def nearest(name: str, names: Iterable[str], valid: Iterable[str] | None = None) -> str:
    """The one of `names` that was probably meant, or all that are valid if they are few."""
    folded = {other.lower(): other for other in islice(names, _MAX_NAMES)}
    known = list(folded.values() if valid is None else valid)
    close = difflib.get_close_matches(name.lower()[:100], folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {named(folded[close[0]])}?"
    return f"; valid are {', '.join(map(named, known))}" if 0 < len(known) <= 12 else ""


def shown(value: bool | str | Number) -> str:
    """A value as one writes it, but in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.text[:60] if isinstance(value, Number) else _line(value)


def named(name: str) -> str:
    """A name in a message; in quotes if it would be mistaken for something else."""
    return name if name.isprintable() and 0 < len(name) <= 100 else _line(name)


def _line(text: str) -> str:
    quoted = json.dumps(text[:60] + "…" if len(text) > 61 else text, ensure_ascii=False)
    return quoted if quoted.isprintable() else ascii(json.loads(quoted))
