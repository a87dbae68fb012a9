"""YAML documents as plain values, with bounds on size, nesting and aliases, and without duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

MAX_SIZE = 2**20
"""Bytes of a file."""
MAX_DEPTH = 64
"""Levels of nesting; a Pod needs fewer than 20."""
MAX_VALUES = 50_000
"""Values of a file, with aliases expanded; a Pod of fifty containers has fewer than 5,000."""

_ALIAS = re.compile(r"(undefined alias|duplicate anchor) .*", re.DOTALL)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Number:
    """A number in its original notation, which is never computed with and may be used as text."""

    text: str


Value: TypeAlias = "bool | str | Number | list[Value] | dict[str, Value] | None"


def value_of(document: object) -> Value:
    """A JSON document, as from the Kubernetes API, as a value; its numbers keep Python's notation."""
    if isinstance(document, dict):
        return {str(key): value_of(value) for key, value in document.items()}
    if isinstance(document, list):
        return [value_of(value) for value in document]
    if isinstance(document, int | float) and not isinstance(document, bool):
        return Number(str(document))
    return document if isinstance(document, bool | str) else None


class BadDocument(ValueError):
    """The text is not YAML, or exceeds a bound."""


class Documents:
    """The documents of a YAML stream in `values`, and duplicate keys in `problems`. Raises BadDocument.

    Plain scalars are resolved as in kubectl: `yes` and `on` are booleans (YAML 1.1), a date and `12:30` are text.
    """

    def __init__(self, text: str) -> None:
        self.problems: list[str] = []
        self._count = 0
        try:
            nodes = list(yaml.compose_all(text, Loader=_Loader))
        except yaml.YAMLError as error:
            raise BadDocument(f"is not valid YAML: {_explain(error, text)}") from None
        except (
            ValueError,
            OverflowError,
        ):  # PyYAML's chr() of "\UFFFFFFFF", int() of 5,000 digits
            raise BadDocument("is not valid YAML: an escape or a directive is out of range") from None
        self.values = [self._value(node, 0) for node in nodes]

    def _value(self, node: yaml.Node, depth: int) -> Value:
        self._count += 1
        if self._count > MAX_VALUES:
            raise BadDocument(f"grows to more than {MAX_VALUES:,} values; write fewer aliases")
        if depth > MAX_DEPTH:
            raise BadDocument(
                f"{_at(node)}: an alias leads deeper than {MAX_DEPTH} levels; write out what it stands for"
            )
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, depth)
        raise _bad_tag(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        merged: dict[str, Value] = {}
        own: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            value = self._value(value_node, depth + 1)
            if key_node.tag == _TAG + "merge":
                _merge(merged, value, value_node)
                continue
            key = _key(key_node)
            if key in own:
                self.problems.append(
                    f'{_at(key_node)}: the key "{key}" stands twice; the first is in line {lines[key]}'
                )
            own[key] = value
            lines.setdefault(key, key_node.start_mark.line + 1)
        return merged | own


class _Loader(yaml.SafeLoader):
    """A loader that stops at the bounds, because PyYAML's composer recurses once for each level."""

    depth = 0
    count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} levels of nesting")
        if self.count > MAX_VALUES:
            self._refuse(f"more than {MAX_VALUES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, what: str) -> NoReturn:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise ComposerError(problem=what, problem_mark=mark)


def _scalar(node: yaml.ScalarNode) -> bool | str | Number | None:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in yaml.SafeLoader.bool_values:
        return bool(yaml.SafeLoader.bool_values[text.lower()])
    if kind in ("int", "float") and ":" not in text:
        return Number(text)
    if kind not in ("str", "int", "float", "timestamp", "value", "merge"):
        raise _bad_tag(node)
    if not is_encodable(text):
        raise BadDocument(f"{_at(node)}: holds half of a surrogate pair; write the character itself")
    return text


def _key(node: yaml.Node) -> str:
    key = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(key, Number):
        return key.text
    if not isinstance(key, str):
        raise BadDocument(f"{_at(node)}: a key must be text; put it in quotes")
    return key


def _merge(merged: dict[str, Value], value: Value, node: yaml.Node) -> None:
    """Adds the entries of a merge key (`<<`); of several mappings the first wins."""
    for source in value if isinstance(value, list) else [value]:
        if not isinstance(source, dict):
            raise BadDocument(f"{_at(node)}: << merges mappings only")
        for key, item in source.items():
            merged.setdefault(key, item)


def is_encodable(text: str) -> bool:
    """Whether text can be encoded as UTF-8: escapes may produce lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _bad_tag(node: yaml.Node) -> BadDocument:
    tag = str(node.tag)
    if not tag.startswith(_TAG):  # it may be a password that begins with an exclamation mark and lacks quotes
        return BadDocument(f"{_at(node)}: a tag of one's own is not accepted; leave it out, or put the text in quotes")
    return BadDocument(f"{_at(node)}: the tag {tag.replace(_TAG, '!!')!a} is not accepted; leave it out")


def _at(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"


def _explain(error: yaml.YAMLError, text: str) -> str:
    return ": ".join(_parts(error, text))


def _parts(error: yaml.YAMLError, text: str) -> Iterator[str]:
    if isinstance(error, ReaderError):
        yield f"line {text.count(chr(10), 0, error.position) + 1}"
        yield f"the character {error.character:#06x} is not allowed"
    elif isinstance(error, yaml.MarkedYAMLError):
        if error.problem_mark:
            yield f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        # The name of an alias may be a password that begins with an asterisk and lacks quotes.
        yield _ALIAS.sub(r"\1", " ".join(filter(None, (error.context, error.problem))))
    else:
        yield str(error)
