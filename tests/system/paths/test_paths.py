"""No target that an access rule of a front server misses reaches a route or file below the rule's prefix.

The front servers are real ones (`fronts`), and docs/paths.md has the whole table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT

from .fronts import FRONTS, UNSAFE, versions
from .table import Outcome, measure, render, serving
from .targets import TARGETS

PAGE = ROOT / "docs" / "paths.md"
Outcomes = dict[str, list[Outcome]]

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Outcomes:
    """The outcomes of all targets with every front server."""
    with serving(tmp_path_factory.mktemp("paths"), cache) as server:
        return measure(server, tmp_path_factory.mktemp("fronts"), {**FRONTS, **UNSAFE})


@pytest.mark.parametrize("name", FRONTS)
def test_no_target_passes_an_access_rule(outcomes: Outcomes, name: str) -> None:
    passed = [(sent, each.target) for sent, each in zip(TARGETS, outcomes[name], strict=True) if each.is_below]
    assert passed == []


@pytest.mark.parametrize("name", FRONTS)
def test_a_rule_refuses_only_what_is_below_its_prefix(outcomes: Outcomes, name: str) -> None:
    of = dict(zip(TARGETS, outcomes[name], strict=True))
    assert of[b"/private/x"].target is None
    assert of[b"/files/private/secret.txt"].target is None
    assert (of[b"/files/public.txt"].status, of[b"/private"].status, of[b"/"].status) == (200, 200, 200)
    assert sum(each.target is not None for each in outcomes[name]) > 50


@pytest.mark.parametrize("name", UNSAFE)
def test_a_rule_that_the_documentation_warns_of_is_passed(outcomes: Outcomes, name: str) -> None:
    assert any(each.is_below for each in outcomes[name])


def test_no_target_makes_a_5xx(outcomes: Outcomes) -> None:
    assert [(name, each) for name, all_of in outcomes.items() for each in all_of if each.status >= 500] == []


def test_the_page_has_the_outcomes(outcomes: Outcomes) -> None:
    """Other versions of the front servers may read targets differently; the gateway does not."""
    assert len(TARGETS) >= 200
    found = render({name: outcomes[name] for name in ("", *FRONTS)}).splitlines()
    expected = PAGE.read_text().splitlines()
    if any(versions() in line for line in expected):
        assert found == expected, "run python -m tests.system.paths"
    assert _gateway_columns(found) == _gateway_columns(expected), "run python -m tests.system.paths"


def _gateway_columns(lines: list[str]) -> list[list[str]]:
    return [line.split("|")[1:3] for line in lines if "|" in line]
