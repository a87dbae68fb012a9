"""A mapping of the manifest with its place in the file, for messages about its fields."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from ...errors import Problem, redact_value
from .document import Number, Value

_SECRET_FIELDS = {"value"}
"""Fields whose values no message shows, because a variable may hold a password."""
_MAX_HINTS, _MAX_NAMES = 100, 1000
"""Problems up to which messages get a suggestion, and names that are compared for one: the search is slow."""


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """The treatment of a field: read, ignored in silence, or with a warning or an error whose text is `why`.

    `harmless` values, and empty ones, ask for what the gateway does anyway and get no warning or error.
    """

    kind: Literal["read", "silent", "warning", "error"]
    why: str = ""
    harmless: tuple[Value, ...] = ()


@dataclass(slots=True)
class Report:
    """Problems and warnings in the order they are found."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class ManifestMapping:
    """The fields of one mapping; a field that is `null` counts as absent, as in Kubernetes."""

    values: Mapping[str, Value]
    where: str
    """The file and the object in it: `pod.yaml: spec.containers[2] (bar)`."""
    prefix: str
    """The path from the object to this mapping: `env[0] (PORT).`"""
    report: Report
    is_wrong: bool = False
    """Whether the value is of another type, for which there is a problem already."""

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def problem(self, key: str, what: str) -> None:
        """Adds a problem with a field."""
        self.report.problems.append(self._problem_at(key, what))

    def warning(self, key: str, what: str) -> None:
        """Adds a warning about a field."""
        self.report.warnings.append(self._problem_at(key, what))

    def unknown(self, what: str, key: str, names: Iterable[str], valid: Iterable[str] | None = None) -> None:
        """Adds a problem for an unknown name, without the value, which may be a secret."""
        hint = self.nearest(key, names, valid)
        self.report.problems.append(Problem(self.where, f"{self.prefix}{quote(key)}: unknown {what}{hint}"))

    def nearest(self, name: str, names: Iterable[str], valid: Iterable[str] | None = None) -> str:
        """A suggestion for an unknown name; none after _MAX_HINTS problems."""
        return nearest(name, names, valid) if len(self.report.problems) < _MAX_HINTS else ""

    def _problem_at(self, key: str, what: str) -> Problem:
        value = self.values.get(key)
        is_shown = isinstance(value, (bool, str, Number)) and not self._is_secret(key)
        written = f" = {literal(value)}" if is_shown and isinstance(value, (bool, str, Number)) else ""
        return Problem(self.where, f"{self.prefix}{quote(key)}{written}: {what}")

    def _is_secret(self, key: str) -> bool:
        """Whether a field's value may be a secret: a variable may also stand in the place of its name."""
        value = self.values.get(key)
        return key in _SECRET_FIELDS or (key == "name" and isinstance(value, str) and "=" in value)

    def text(self, key: str, needed: str = "") -> str | None:
        """A field's text, or None; an absent field is a problem if `needed`, the reason, is given."""
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
        """A boolean field; False if absent."""
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.problem(key, "must be true or false")
        return False

    def table(self, key: str) -> ManifestMapping:
        """The mapping of a field; empty if absent."""
        value = self.values.get(key)
        prefix = f"{self.prefix}{quote(key)}."
        if isinstance(value, dict):
            return ManifestMapping(value, self.where, prefix, self.report)
        if value is not None:
            self.problem(key, "must be a mapping")
        return ManifestMapping({}, self.where, prefix, self.report, self.is_wrong or value is not None)

    def items(self, key: str) -> Iterator[Value]:
        """The items of a list; none if absent."""
        value = self.values.get(key)
        if isinstance(value, list):
            yield from value
        elif value is not None:
            self.problem(key, "must be a list")

    def tables(self, key: str, *, as_objects: bool = False) -> Iterator[ManifestMapping]:
        """The mappings of a list, with number and name in messages; `as_objects` makes each an object with a place."""
        for number, value in enumerate(self.items(key)):
            path = f"{self.prefix}{key}[{number}]"
            if not isinstance(value, dict):
                self.report.problems.append(Problem(self.where, f"{path}: must be a mapping"))
                continue
            if isinstance(name := value.get("name"), str) and name:
                path += f" ({quote(without_value(name))})"
            yield (
                ManifestMapping(value, f"{self.where}: {path}", "", self.report)
                if as_objects
                else ManifestMapping(value, self.where, f"{path}.", self.report)
            )

    def check_fields(self, policies: Mapping[str, FieldPolicy]) -> None:
        """Adds a problem or a warning for each field that is unknown, refused or without effect."""
        for key, value in self.values.items():
            policy = policies.get(key)
            if policy is None:
                valid = [name for name, other in policies.items() if other.kind != "error"]
                self.unknown("field", key, policies, valid)
            elif not value or value in policy.harmless:
                continue
            elif policy.kind == "error":
                self.problem(key, policy.why)
            elif policy.kind == "warning":
                self.warning(key, policy.why)


def nearest(name: str, names: Iterable[str], valid: Iterable[str] | None = None) -> str:
    """The hint for an unknown name: the nearest of `names`, else all `valid` names if they are few."""
    folded = {other.lower(): other for other in islice(names, _MAX_NAMES)}
    known = list(folded.values() if valid is None else valid)
    close = difflib.get_close_matches(name.lower()[:100], folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {quote(folded[close[0]])}?"
    return f"; valid are {', '.join(map(quote, known))}" if 0 < len(known) <= 12 else ""


def literal(value: bool | str | Number) -> str:
    """A scalar as in the source, shortened to one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.text[:60] if isinstance(value, Number) else _line(redact_value(value))


def without_value(name: str) -> str:
    """A name without what follows an equals sign, as of a variable that stands in the place of its name."""
    name, equals, _ = name.partition("=")
    return f"{name}{equals}…" if equals else name


def quote(name: str) -> str:
    """A name for a message; in quotes if it is empty, long or not printable."""
    return name if name.isprintable() and 0 < len(name) <= 100 else _line(name)


def _line(text: str) -> str:
    quoted = json.dumps(text[:60] + "…" if len(text) > 61 else text, ensure_ascii=False)
    return quoted if quoted.isprintable() else ascii(json.loads(quoted))
