"""The annotation `alpha.wagi.krustlet.dev/modules`: a JSON object with the route of each container."""

from __future__ import annotations

import json
from typing import NoReturn

from .document import Number, Value, is_encodable
from .mapping import quote


class BadAnnotation(ValueError):
    """The text is not a JSON object, or has a key twice."""


def parse_modules(text: str) -> dict[str, Value]:
    """Parses the JSON object `{"container": {"route": "/path", …}, …}`; numbers keep their notation.

    Raises BadAnnotation.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise BadAnnotation(f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadAnnotation("is nested too deeply") from None
    if not isinstance(value, dict):
        raise BadAnnotation("must be a JSON object")
    return value


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, value in pairs:
        if key in values:
            raise BadAnnotation(f"{quote(key)} stands twice in one object; remove one")
        texts = [key, *(item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))]
        if not all(map(is_encodable, texts)):
            raise BadAnnotation("holds half of a surrogate pair; write the character itself")
        values[key] = value
    return values


def _no_constant(name: str) -> NoReturn:
    raise BadAnnotation(f"is not valid JSON: {name} is no number")
