"""One finding of an examination."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "note", "warning", "error"]
"""A note is about a module that the configuration does not build."""


class Finding(NamedTuple):
    """What was found, and what to do."""

    level: Level
    what: str
    advice: str = ""
