"""The import graph of the package, read from its syntax trees: which module imports which, and on which line.

Imports inside functions and under `TYPE_CHECKING` count as any other. Modules are named without the package's name:
`app`, `config.file`; a package by itself is the name of its folder, and the root package is `__init__`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ORDER = (
    ("errors", "version"),
    ("router", "outbound"),
    ("cgi",),
    ("config",),
    ("http", "x509", "memory"),
    ("tls",),
    ("sources",),
    ("build",),
    ("compiler",),
    ("sandbox", "bridge"),
    ("observe",),
    ("site",),
    ("gateway",),
    ("app",),
    ("__init__",),
    ("server",),
    ("scaffold", "doctor"),
    ("dev", "node"),
    ("cli",),
    ("__main__",),
)
"""Rooms (folders, and modules of the package root) from left to right; a module imports from its own room or from
rooms further left. Rooms in one place do not import each other."""


class Import(NamedTuple):
    """One imported name."""

    importer: str
    imported: str
    """A module of the package, or a library's top-level package."""
    line: int
    is_foreign: bool = False


def parse(package: Path) -> dict[str, ast.Module]:
    """The syntax tree of each module of the package, by name."""
    return {
        _name(path.relative_to(package)): ast.parse(path.read_bytes(), str(path))
        for path in sorted(package.rglob("*.py"))
    }


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(package: Path) -> Iterator[Import]:
    """Every import of the package's modules but those from the standard library."""
    trees = parse(package)
    for importer, tree in trees.items():
        is_folder = (package / importer.replace(".", "/")).is_dir()
        parent = [] if importer == "__init__" else importer.split(".")[: None if is_folder else -1]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found = {_absolute(alias.name.split("."), "", package.name, trees) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = node.module.split(".") if node.module else []
                if node.level:
                    module = [package.name, *parent[: len(parent) - node.level + 1], *module]
                found = {_absolute(module, alias.name, package.name, trees) for alias in node.names}
            else:
                continue
            for imported, is_foreign in sorted(found):
                if not is_foreign or imported not in sys.stdlib_module_names:
                    yield Import(importer, imported, node.lineno, is_foreign)


def _absolute(parts: list[str], name: str, package: str, modules: Mapping[str, object]) -> tuple[str, bool]:
    """The module that `from parts import name` loads, and whether it is foreign."""
    if parts[0] != package:
        return parts[0], True
    for candidate in ([*parts[1:], name], parts[1:]):
        if ".".join(candidate) in modules:
            return ".".join(candidate), False
    return "__init__", False


def room(module: str) -> str:
    """The folder of a module, or the module itself in the package root."""
    return module.partition(".")[0]


def edges(found: list[Import]) -> dict[str, set[str]]:
    """The modules of the package that each module imports, itself left out."""
    graph: dict[str, set[str]] = {}
    for one in found:
        graph.setdefault(one.importer, set())
        if not one.is_foreign and one.imported != one.importer:
            graph[one.importer].add(one.imported)
            graph.setdefault(one.imported, set())
    return graph


def backward(found: list[Import]) -> list[Import]:
    """The imports from a room that is not left of the importer's; KeyError for a room that ORDER does not name."""
    place = {name: number for number, names in enumerate(ORDER) for name in names}
    return [
        one
        for one in found
        if not one.is_foreign
        and room(one.importer) != room(one.imported)
        and place[room(one.imported)] >= place[room(one.importer)]
    ]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other, directly or through others: strongly connected components."""
    return [sorted(component) for component in _components(graph) if len(component) > 1]


def floors(graph: Mapping[str, set[str]]) -> int:
    """Modules on the longest path of imports; a circle counts as one."""
    components = _components(graph)
    owner = {name: number for number, component in enumerate(components) for name in component}
    condensed = {number: set[int]() for number in range(len(components))}
    for name, imported in graph.items():
        condensed[owner[name]] |= {owner[other] for other in imported} - {owner[name]}
    heights: dict[int, int] = {}
    for number in TopologicalSorter(condensed).static_order():
        heights[number] = 1 + max((heights[other] for other in condensed[number]), default=0)
    return max(heights.values(), default=0)


def _components(graph: Mapping[str, set[str]]) -> list[set[str]]:
    reachable = {name: _reachable(graph, name) for name in graph}
    found: list[set[str]] = []
    for name in graph:
        if not any(name in component for component in found):
            found.append({name} | {other for other in reachable[name] if name in reachable[other]})
    return found


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for other in graph[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen
