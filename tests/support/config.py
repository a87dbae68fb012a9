"""The text of a `modules.toml`."""

from __future__ import annotations

import json
import re
from pathlib import Path


def config(*modules: str, **settings: object) -> str:
    """A whole `modules.toml`: its settings and `[[module]]` tables, which `module` and `guest` make.

    A dict becomes a table and a list of dicts an array of tables: `config(guest("/", "m"), log={"level": "debug"})`.
    """
    # Keys outside of any table come first: a header would claim them.
    values = [f"{_key(name)} = {_toml(value)}\n" for name, value in settings.items() if not _is_table(value)]
    tables = [_table(name, value) for name, value in settings.items() if _is_table(value)]
    return "".join((*values, *tables, *modules))


def module(route: str, reference: str | Path, more: str = "", **settings: object) -> str:
    """A `[[module]]` table as text: its `settings`, and lines of TOML in `more`."""
    return f"{_table('module', [{'route': route, 'module': str(reference), **settings}])}{more}\n"


def guest(route: str, name: str, **limits: object) -> str:
    """A `[[module]]` table for `NAME.wat` with these `limits`."""
    return module(route, f"{name}.wat", limits=limits)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _table(name: str, value: object) -> str:
    """`[name]` for a dict, `[[name]]` for each dict of a list."""
    if isinstance(value, list):
        return "".join(_table(f"[{name}]", item) for item in value)
    assert isinstance(value, dict)
    return f"\n[{name}]\n" + "".join(f"{_key(key)} = {_toml(item)}\n" for key, item in value.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
