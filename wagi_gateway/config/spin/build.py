"""Spin's `build` as the `build` of a `[[module]]`."""

from __future__ import annotations

import re
import shlex
from typing import Any

from .manifest import SpinBuild

_FOR_A_SHELL = re.compile(r"[;&|<>$`()*?\[\]{}!~#\n\\]|^\s*\w+=")
"""What a shell interprets in a command, beside quotes."""


def convert_build(build: SpinBuild) -> dict[str, Any]:
    """The table of a build: the words of its command, which no shell reads, or a shell and the command where need be.

    >>> convert_build(SpinBuild(command=["npm install && npm run build"]))
    {'command': ['sh', '-c', 'npm install && npm run build']}
    """
    table: dict[str, Any] = {"command": _words(" && ".join(build.command))}
    if build.workdir:
        table["directory"] = build.workdir
    if build.watch:
        table["watch"] = build.watch
    return table


def _words(command: str) -> list[str]:
    if not _FOR_A_SHELL.search(command):
        try:
            return shlex.split(command)
        except ValueError:  # an open quote: the shell reports it
            pass
    return ["sh", "-c", command]
