"""The interfaces of WASI 0.2 as imports of a component, in the text format (`wasi.wat`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_TEXT = Path(__file__).with_name("wasi.wat")
_IMPORT = re.compile(r'\(import "(.+?)@.+\n')
_DEPENDENCY = re.compile(r"\(alias export \$(.+?)@")


@cache
def _definitions() -> dict[str, str]:
    """The text of each import, with the aliases before it, by its interface, such as `wasi:io/poll`; in an order in
    which each follows the imports that it needs."""
    text = _TEXT.read_text()
    ends = [(match[1], match.end()) for match in _IMPORT.finditer(text)]
    begins = [0, *(end for _, end in ends)]
    return {name: text[begin:end] for (name, end), begin in zip(ends, begins, strict=False)}


def with_dependencies(interfaces: Iterable[str]) -> list[str]:
    """The interfaces and those whose types they use, in the order of their imports. Raises KeyError."""
    definitions = _definitions()
    wanted: set[str] = set()
    pending = set(interfaces)
    while pending:
        wanted |= pending
        pending = {used for name in pending for used in _DEPENDENCY.findall(definitions[name])} - wanted
    return [name for name in definitions if name in wanted]


def import_text(interfaces: Iterable[str]) -> str:
    """The imports of interfaces, which `with_dependencies` returned, as fields of a component."""
    return "".join(_definitions()[name] for name in interfaces)
