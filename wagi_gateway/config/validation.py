"""Validation errors in the words of the file: key, value, what is wrong, what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from ..errors import redact_value
from .settings import nested_models
from .values import RESERVED, as_written

_MESSAGES = {
    "byte_size": 'not a size; write for example "16MiB"',
    "byte_size_unit": 'not a size; write for example "16MiB"',
    "float_type": 'not a duration; write for example "30s"',
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list in brackets",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
"""The message for a type of pydantic error, where pydantic's own is not in the words of TOML."""


def without(table: object, wrong: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """The table without the keys at the paths `wrong`: at most two levels deep, so that a mistake in an inner table
    leaves the table's other keys."""
    right = (
        {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
        if isinstance(table, dict)
        else {}
    )
    for outer, *inner in (loc for loc in wrong if loc):
        if inner and isinstance(right.get(str(outer)), dict):
            right[str(outer)].pop(inner[0], None)
        else:
            right.pop(str(outer), None)
    return right


def explain(detail: ErrorDetails, model: type[BaseModel], prefix: str, table: object) -> str:
    """The text of one pydantic error of `model`, whose keys are named with `prefix`; `table` is what was validated."""
    loc = [part for part in detail["loc"] if part != "[key]"]
    # The index of a list item is left out: its value identifies it.
    key = (prefix + ".".join(_shown(part) for part in loc if isinstance(part, str))).rstrip(".")
    kind, value = detail["type"], _written(table, detail)
    if kind == "extra_forbidden":
        return unknown_key(key, str(loc[-1]), _model_at(model, loc[:-1]))
    if kind == "missing":
        return f"{key}: missing; it has no default"
    what = _MESSAGES.get(kind) or detail["msg"].removeprefix("Value error, ")
    for bound, words in (("le", "at most"), ("ge", "at least"), ("gt", "more than")):
        if (limit := detail.get("ctx", {}).get(bound)) is not None:
            what = f"must be {words} {as_written(limit, _annotation_at(model, loc))}"
    what = what[:1].lower() + what[1:]
    if kind == RESERVED or value is None or isinstance(value, (dict, list)) or _is_secret(detail, model, loc):
        return f"{key}: {what}"
    return f"{key} = {_toml(value)}: {what}"


def _shown(name: str) -> str:
    """A key without what follows an equals sign: a variable that stands in the place of its name."""
    name, equals, _ = name.partition("=")
    return f"{name}{equals}…" if equals else name


def _is_secret(detail: ErrorDetails, model: type[BaseModel], loc: Sequence[int | str]) -> bool:
    """Whether a wrong value may hold a password: a variable's, one of a secret type, or text in place of a table."""
    is_text_for_table = detail["type"] in ("dict_type", "model_type", "tuple_type") and isinstance(detail["input"], str)
    return is_text_for_table or "environment" in loc or _has_secret(_annotation_at(model, loc))


def _has_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_has_secret, get_args(annotation)))


def _written(table: object, detail: ErrorDetails) -> object:
    """The value as the file has it; pydantic checks a bound on the converted value and reports that."""
    for part in detail["loc"]:
        if not isinstance(table, dict) or part not in table:
            return detail["input"]
        table = table[part]
    return table


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{redact_value(value)}"' if isinstance(value, str) else str(value)


def unknown_key(key: str, name: str, model: type[BaseModel] | None) -> str:
    """The message for an unknown `key` that ends in `name`, with the nearest key of `model`, else with all of them."""
    return f"{key}: unknown key{_nearest_key(name, model)}"


def _nearest_key(name: str, model: type[BaseModel] | None) -> str:
    names = list(model.model_fields) if model else []
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; valid keys are {', '.join(names)}" if names else ""


def _annotation_at(model: type[BaseModel], loc: Sequence[int | str]) -> object:
    """The type of the field at the key path `loc`."""
    parent = _model_at(model, loc[:-1])
    field = parent.model_fields.get(str(loc[-1])) if parent and loc else None
    return field.annotation if field else None


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model at the key path `loc`."""
    found: type[BaseModel] | None = model
    for part in loc:
        field = found.model_fields.get(str(part)) if found else None
        if field is not None:
            found = next(iter(nested_models(field.annotation)), None)
    return found
