"""Tables as the text of a `modules.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import Comment, InlineTable, Table

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_WIDTH = 100
"""Maximal length in characters of an inline table; a longer table gets a header."""


def write_toml(
    tables: Mapping[str, Any], comments: Sequence[str] = (), notes: Sequence[Sequence[str]] = (), head: str = ""
) -> str:
    """The TOML text of `tables`, below the comment `head`; each `[[module]]` gets one of `comments` beside its header,
    and the comment lines of one of `notes` below.

    >>> print(write_toml({"module": [{"route": "/", "module": "hello.wasm"}]}, ["container hello"]), end="")
    [[module]] # container hello
    route = "/"
    module = "hello.wasm"
    """
    document = tomlkit.document()
    if head:
        document.add(_comment(head))
        document.add(tomlkit.nl())
    for name, value in tables.items():
        document.add(name, _modules(value, comments, notes) if isinstance(value, list) else _table(value))
    return document.as_string()


def _modules(
    tables: list[dict[str, Any]], comments: Sequence[str], notes: Sequence[Sequence[str]]
) -> tomlkit.items.AoT:
    modules = tomlkit.aot()
    for number, values in enumerate(tables):
        table = tomlkit.table()
        for line in notes[number] if number < len(notes) else ():
            table.add(_comment(line))
        if number < len(comments):
            table.comment(_CONTROL.sub(" ", comments[number]))
        modules.append(_fill(table, values))
    return modules


def _comment(text: str) -> Comment:
    return tomlkit.comment(_CONTROL.sub(" ", text))


def _table(values: Mapping[str, Any]) -> Table:
    return _fill(tomlkit.table(), values)


def _fill(table: Table, values: Mapping[str, Any]) -> Table:
    long: dict[str, Table] = {}
    for name, value in values.items():
        if not isinstance(value, dict):
            table.add(name, value)
        elif len((inline := _inline(value)).as_string()) <= _WIDTH:
            table.add(name, inline)
        else:
            long[name] = _table(value)
    for name, sub_table in long.items():
        table.add(name, sub_table)
    return table


def _inline(values: Mapping[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for name, value in values.items():
        table.add(name, _inline(value) if isinstance(value, dict) else value)
    return table
