"""Tables of a `modules.toml`."""

from __future__ import annotations

import json
from pathlib import Path


def module(route: str, reference: str | Path, more: str = "", **settings: object) -> str:
    """A `[[module]]` table as text: its `settings`, and lines of TOML in `more`."""
    lines = (f"{name} = {_toml(value)}\n" for name, value in settings.items())
    return f'\n[[module]]\nroute = "{route}"\nmodule = "{reference}"\n{"".join(lines)}{more}\n'


def guest(route: str, name: str, **limits: object) -> str:
    """A `[[module]]` table for `NAME.wat` with these `limits`."""
    return module(route, f"{name}.wat", limits=limits)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
