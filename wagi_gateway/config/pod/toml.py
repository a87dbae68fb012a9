"""Tables as the text of a `modules.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_WIDTH = 100
"""Maximal length in characters of an inline table; a longer table gets a header."""


def write_toml(tables: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """The TOML text of `tables`; each `[[module]]` gets one of `comments`.

    >>> print(write_toml({"module": [{"route": "/", "module": "hello.wasm"}]}, ["container hello"]), end="")
    [[module]] # container hello
    route = "/"
    module = "hello.wasm"
    """
    document = tomlkit.document()
    for name, value in tables.items():
        document.add(name, _modules(value, comments) if isinstance(value, list) else _table(value))
    return document.as_string()


def _modules(tables: list[dict[str, Any]], comments: Sequence[str]) -> tomlkit.items.AoT:
    modules = tomlkit.aot()
    for number, values in enumerate(tables):
        table = _table(values)
        if number < len(comments):
            table.comment(_CONTROL.sub(" ", comments[number]))
        modules.append(table)
    return modules


def _table(values: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
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
