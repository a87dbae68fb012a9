"""Imports run one way: no room imports from a room to its right, no cycle of modules, each library in its rooms."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import wagi_gateway
from scripts import import_graph
from scripts.import_graph import ORDER, Import, backward, circles, edges, floors, imports, room
from tests.conftest import ROOT

PACKAGE = ROOT / "wagi_gateway"
LIBRARIES = {
    "ada_url": ("outbound",),
    "backports": ("sources.oci",),
    "compression": ("sources.oci",),
    "cryptography": ("node",),
    "filelock": ("compiler", "sources"),
    "h11": ("outbound",),
    "httpcore2": ("outbound",),
    "httptools": ("server",),
    "httpx2": ("node",),
    "lightkube": ("node",),
    "msgspec": ("node",),
    "opentelemetry": ("observe",),
    "oras": ("sources.oci",),
    "platformdirs": ("config",),
    "prometheus_client": ("observe", "node"),
    "pydantic": ("config", "memory", "sources.oci", "node", "cli"),
    "pydantic_core": ("config", "sources.oci"),
    "requests": ("sources.oci",),
    "rich": ("cli", "observe"),
    "starlette": ("http", "gateway", "app", "server", "dev", "node"),
    "tomlkit": ("config.pod",),
    "typer": ("cli",),
    "urllib3": ("sources.oci",),
    "uvicorn": ("server", "dev", "node"),
    "wasmtime": ("compiler", "sandbox", "site"),
    "watchfiles": ("server", "dev"),
    "yaml": ("config.pod", "node"),
}
"""The rooms that import a library."""
PURE = ("errors", "version", "router", "cgi")
"""Rooms that import the standard library and each other alone."""


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return list(imports(PACKAGE))


def test_every_room_has_a_place_in_the_order() -> None:
    named = [name for names in ORDER for name in names]
    assert sorted(named) == sorted({room(name) for name in import_graph.parse(PACKAGE)})


def test_imports_run_one_way(found: list[Import]) -> None:
    strays = backward(found)
    assert not strays, _text(strays)


def test_no_modules_import_each_other(found: list[Import]) -> None:
    assert circles(edges(found)) == []


def test_a_library_is_imported_in_its_rooms_alone(found: list[Import]) -> None:
    strays = [one for one in found if one.is_foreign and not _is_in(one.importer, LIBRARIES[one.imported])]
    assert not strays, _text(strays)


def test_cgi_and_the_router_import_no_room_but_pure_ones(found: list[Import]) -> None:
    strays = [one for one in found if room(one.importer) in PURE and room(one.imported) not in PURE]
    assert not strays, _text(strays)


def _is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in rooms)


def _text(strays: list[Import]) -> str:
    """A line for each import: file, line and both rooms."""
    return "".join(f"\n{_path(one)}:{one.line}: {room(one.importer)} imports from {_target(one)}" for one in strays)


def _path(one: Import) -> Path:
    path = PACKAGE / one.importer.replace(".", "/")
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).relative_to(ROOT)


def _target(one: Import) -> str:
    return one.imported if one.is_foreign else room(one.imported)


@pytest.mark.parametrize(
    ("statement", "imported"),
    [
        ("from ..errors import Problem", "errors"),
        ("from .. import errors", "errors"),
        ("from . import file", "config.file"),
        ("from .file import read", "config.file"),
        ("import package.errors", "errors"),
        ("from package.config import file", "config.file"),
        ("from .. import __version__", "__init__"),
        ("import yaml.composer", "yaml"),
        ("if TYPE_CHECKING:\n    from ..errors import Problem", "errors"),
        ("def read():\n    from ..errors import Problem", "errors"),
    ],
)
def test_every_form_of_import_is_seen(tmp_path: Path, statement: str, imported: str) -> None:
    package = tmp_path / "package"
    (package / "config").mkdir(parents=True)
    for name in ("__init__", "errors", "config/__init__", "config/file"):
        (package / f"{name}.py").touch()
    (package / "config" / "settings.py").write_text(f"import sys\n{statement}\n")
    assert [(one.importer, one.imported) for one in imports(package)] == [("config.settings", imported)]


def test_a_circle_is_found_and_counts_as_one_floor() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert (circles(graph), floors(graph)) == ([["b", "c"]], 3)


def test_the_public_face_is_imported_last() -> None:
    """`wagi_gateway/__init__.py` imports by name, which the syntax tree does not show."""
    assert set(wagi_gateway._MODULES) == set(wagi_gateway.__all__) - {"__version__"}
    assert not any(module.startswith(("server", "cli")) for module in wagi_gateway._MODULES.values())


def test_no_two_classes_have_one_name() -> None:
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
