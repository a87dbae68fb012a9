"""docs/spec, the tests and the code name the same rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

SPECIFICATION = ROOT / "docs" / "spec"
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SOURCES = [*TESTS, *sorted(ROOT.glob("wagi_gateway/**/*.py")), *sorted(ROOT.glob("benchmarks/**/*.py"))]

_SECTION = re.compile(r"^## ([AW]\d)\. ", re.MULTILINE)
_RULE = re.compile(r"^\| ([A-Z]\d\d) \| .+ \|(?: (.+))? \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_ID_IN_A_NAME = re.compile(r"test_([a-z]\d\d)_")
_ID_OF_A_CASE = re.compile(r"(?:T07-)?([EPBCHTMQARLW]\d\d)(?:-.*)?", re.DOTALL)
_CITATION = re.compile(r"docs/spec/(\w+\.md)((?:,? (?:and )?[A-Z]\d{1,2}\b(?:-[A-Z]\d{1,2}\b)?)*)")


class Rule(NamedTuple):
    """A row of a table."""

    page: str
    id: str
    test: str
    """The last column: empty where tests carry the id."""


def rules() -> Iterator[Rule]:
    for page in sorted(SPECIFICATION.glob("*.md")):
        for id_, test in _RULE.findall(page.read_text()):
            yield Rule(page.name, id_, test)


RULES = list(rules())
IDS = {rule.id for rule in RULES}


def names_in(path: Path) -> set[str]:
    """The names of a file's top-level functions."""
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def ids_in(path: Path) -> set[str]:
    """The ids at the start of a test file's function names and of its strings, which become ids of cases."""
    tree = ast.parse(path.read_text())
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    in_names = {match[1].upper() for name in functions if (match := _ID_IN_A_NAME.match(name))}
    return in_names | {match[1] for text in texts if (match := _ID_OF_A_CASE.fullmatch(text))}


CARRIED = {id_ for path in TESTS for id_ in ids_in(path) if path != Path(__file__)}


def citations() -> Iterator[tuple[str, str, str]]:
    """Every `docs/spec/PAGE IDS` in a source file: the file, the page, the ids."""
    for path in SOURCES:
        for page, ids in _CITATION.findall(path.read_text()):
            if path != Path(__file__):
                yield str(path.relative_to(ROOT)), page, ids


def test_an_id_stands_for_one_rule() -> None:
    assert len(RULES) > 100
    assert len(IDS) == len(RULES)


def test_every_row_of_a_table_is_a_rule() -> None:
    rows = [
        line
        for page in SPECIFICATION.glob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| id ")
    ]
    assert len(rows) == len(RULES)


def test_every_id_of_a_test_is_a_rule() -> None:
    assert sorted(CARRIED - IDS) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_test(rule: Rule) -> None:
    if not rule.test:
        assert rule.id in CARRIED
        return
    found = _TEST.fullmatch(rule.test)
    assert found, rule.test
    assert found[2] in names_in(ROOT / found[1])


@pytest.mark.parametrize(("source", "page", "ids"), sorted(set(citations())), ids=lambda value: value.strip())
def test_every_citation_resolves(source: str, page: str, ids: str) -> None:
    assert (SPECIFICATION / page).exists(), source
    text = (SPECIFICATION / page).read_text()
    known = {*_SECTION.findall(text), *(rule.id for rule in RULES if rule.page == page)}
    assert set(re.findall(r"[A-Z]\d{1,2}", ids)) <= known, source


def test_no_citation_leads_out_of_the_repository() -> None:
    dangling = re.compile(r"(?<!docs/spec/)\b(?:cgi|wagi|defects|house)\.md\b|\bDESIGN\.md\b")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        if path != Path(__file__)
        for match in dangling.finditer(path.read_text())
    ]
    assert found == []
