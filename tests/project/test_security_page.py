"""docs/security.md names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
_CODE = re.compile(r"`([^`]+)`")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda value: value)
def test_the_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_promise_has_one() -> None:
    section = PAGE.partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row] == []


def test_every_place_exists() -> None:
    """A place is a module or folder of the package, with dots, or a path of the repository."""
    places = {
        place
        for row in re.findall(r"^\| [^|]+ \| ([^|]+) \| .*::test_", PAGE, re.MULTILINE)
        for place in _CODE.findall(row)
    }
    assert len(places) > 10
    missing = []
    for place in sorted(places):
        path = ROOT / "wagi_gateway" / place.replace(".", "/")
        if not (path.is_dir() or path.with_suffix(".py").exists() or (ROOT / place).exists()):
            missing.append(place)
    assert missing == []
