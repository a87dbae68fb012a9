"""Figures of the package's layout, for this tree and another revision beside it: scripts/house."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import json
import re
import statistics
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts import import_graph

_ROOT = Path(__file__).parent.parent
_COMPLEXITY = re.compile(r"\((\d+) > \d+\)")
_COMPLEX = 10
"""Cyclomatic complexity above which a function counts as complex; radon calls it grade C, and D above 20."""


def figures(root: Path) -> dict[str, object]:
    """The figures of the checkout at `root`, each with its name."""
    package = root / "wagi_gateway"
    trees = import_graph.parse(package)
    modules = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    found = list(import_graph.imports(package))
    graph = import_graph.edges(found)
    rooms = _room_edges(graph)
    bodies = sorted(_bodies(trees))
    return {
        "modules in the package root": sum(path.parent == package for path in modules),
        "folders": sum((path.is_dir() and any(path.glob("*.py"))) for path in package.rglob("*")),
        "modules": len(modules),
        "lines": sum(len(path.read_text().splitlines()) for path in package.rglob("*.py")),
        "rooms (folders and modules of the root)": len(rooms),
        "arrows between rooms": sum(map(len, rooms.values())),
        "floors of imports between rooms": import_graph.floors(rooms),
        "floors of imports between modules": import_graph.floors(graph),
        "imports against the order": _backward(found),
        "circles of rooms": len(import_graph.circles(rooms)),
        "circles of modules": len(import_graph.circles(graph)),
        "function body, median lines": statistics.median(bodies),
        "function body, 90th percentile": bodies[len(bodies) * 9 // 10],
        "function body, longest": bodies[-1],
        f"functions of complexity over {_COMPLEX} (ruff C901)": len(complexities := _complexities(package)),
        "function complexity, highest": max(complexities, default=_COMPLEX),
        "modules without a test file": len(_untested(root, modules)),
        "class names used twice": len(_twice(trees)),
    }


def _room_edges(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {import_graph.room(name): set() for name in graph}
    for name, imported in graph.items():
        own = import_graph.room(name)
        rooms[own] |= {import_graph.room(other) for other in imported} - {own}
    return rooms


def _backward(found: list[import_graph.Import]) -> object:
    try:
        return len(import_graph.backward(found))
    except KeyError:  # a revision with other rooms
        return "-"


def _bodies(trees: Mapping[str, ast.Module]) -> list[int]:
    """Lines of each function's body, docstring left out."""
    lengths = []
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
                lengths.append((node.end_lineno or 0) - body[0].lineno + 1 if body else 0)
    return lengths


def _complexities(package: Path) -> list[int]:
    """The complexity of each function above the bound; ruff counts neither `and` and `or` nor comprehensions.

    Empty where ruff is not installed.
    """
    if importlib.util.find_spec("ruff") is None:
        return []
    command = ["ruff", "check", "--isolated", "--select=C901", "--output-format=json", "--exit-zero"]
    command += [f"--config=lint.mccabe.max-complexity={_COMPLEX}", str(package)]
    messages = [found["message"] for found in json.loads(_output(sys.executable, "-m", *command))]
    return [int(_COMPLEXITY.findall(message)[0]) for message in messages]


def _untested(root: Path, modules: list[Path]) -> list[Path]:
    """Modules without a test file of the same folder and name."""
    paths = [path.relative_to(root / "wagi_gateway") for path in modules if path.name != "__main__.py"]
    return [path for path in paths if not (root / "tests" / path.with_name(f"test_{path.name}")).exists()]


def _twice(trees: Mapping[str, ast.Module]) -> list[str]:
    names = Counter(node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef))
    return sorted(name for name, count in names.items() if count > 1)


def _output(*command: str) -> bytes:
    return subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - fixed programs


def _at(revision: str) -> dict[str, object]:
    """The figures of a revision of the repository."""
    with TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(_output("git", "archive", revision, "wagi_gateway", "tests"))) as archive:
            archive.extractall(directory, filter="data")
        return figures(Path(directory))


def main() -> None:
    """Prints the figures, one a line, those of another revision first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", help="another revision, whose figures stand in the first column")
    options = parser.parse_args()
    now = figures(_ROOT)
    before = _at(options.against) if options.against else {}
    width = max(map(len, now))
    if before:
        print(f"{'':{width}}  {options.against:>12}  {'this tree':>12}")
    for name, value in now.items():
        columns = [before[name], value] if before else [value]
        print(f"{name:{width}}" + "".join(f"  {column!s:>12}" for column in columns))


if __name__ == "__main__":
    main()
