"""The templates: files of this package, with values in the place of `{{name}}`."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from ..router import RoutePattern
from .language import Language

_VALUE = re.compile(r"\{\{(\w+)\}\}")
_SUFFIX = ".tmpl"
"""Of a file with values. Others are copied as they are."""
_DOT = "dot-"
"""In the place of the dot of a hidden file, which tools would read."""
_MODULE = "module.toml"
"""The file with the `[[module]]` table, which stands in modules.toml."""


@dataclass(frozen=True, slots=True)
class Template:
    """The template of one module: its language, name and route, and its folder relative to modules.toml."""

    language: Language
    name: str
    route: RoutePattern
    folder: str = "."

    def module_files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file of the module's folder."""
        return ((path, content) for path, content in self._render(self.language.name) if path != _MODULE)

    def project_files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file of a project beside those of its module."""
        return self._render("common")

    def module_table(self) -> str:
        """The `[[module]]` table, as text of modules.toml."""
        return dict(self._render(self.language.name))[_MODULE].decode()

    def build_command(self) -> tuple[str, ...]:
        """The command that builds the module; empty if there is nothing to build."""
        (module,) = tomllib.loads(self.module_table())["module"]
        return tuple(module.get("build", {}).get("command", ()))

    def _render(self, name: str) -> Iterator[tuple[str, bytes]]:
        for path, file in _walk(files(__package__) / "templates" / name):
            content = file.read_bytes()
            if path.endswith(_SUFFIX):
                content = _VALUE.sub(lambda value: self._value(value[1]), content.decode()).encode()
            yield path.removesuffix(_SUFFIX), content

    def _value(self, name: str) -> str:
        match name:
            case "module":
                return self.module_table().rstrip("\n")
            case "path":
                return shlex.quote(self.route.path or "/")
            case "route":
                return self.route.text
            case "route_toml":
                return json.dumps(self.route.text, ensure_ascii=False)
            case "directory":
                return self.folder
            case "prefix":
                return "" if self.folder == "." else f"{self.folder}/"
            case "name":
                return self.name
            case _:
                return str(getattr(self.language, name))


def _walk(directory: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """Path and file of each file below a directory, in the order of their names."""
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        path = prefix + entry.name.replace(_DOT, ".", 1) if entry.name.startswith(_DOT) else prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        else:
            yield path, entry
