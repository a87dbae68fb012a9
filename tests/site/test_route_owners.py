"""Duplicate and built-in routes."""

from __future__ import annotations

import pytest

from wagi_gateway.router import RoutePattern
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.route_owners import RouteOwners, read_pattern


def found(*routes: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Problems and warnings of routes, each with its owner."""
    findings, owners = Findings("file"), RouteOwners()
    for owner, route in routes:
        owners.add(findings.at(owner), owner, RoutePattern(route))
    owners.check()
    return list(map(str, findings.problems)), list(map(str, findings.warnings))


@pytest.mark.parametrize("other", ["/a", "/%61"])
def test_a_duplicate_is_refused(other: str) -> None:
    problem = f"[[module]] 2: the route {other} is taken by [[module]] 1; give it another one"
    assert found(("[[module]] 1", "/a"), ("[[module]] 2", other)) == ([problem], [])


@pytest.mark.parametrize("other", ["/a/...", "/A", "/a/", "/a%2F"])
def test_routes_that_differ(other: str) -> None:
    assert found(("[[module]] 1", "/a"), ("[[static]] 1", other)) == ([], [])


def test_one_owner_may_have_a_route_twice() -> None:
    assert found(("[[module]] 1", "/a"), ("[[module]] 1", "/a")) == ([], [])


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_a_built_in_route_wins(route: str) -> None:
    assert found(("[[module]] 1", route)) == ([], [f"[[module]] 1: {route} is built in and wins over this route"])


@pytest.mark.parametrize(
    ("text", "parent", "expected"),
    [("/a/...", None, "/a/..."), ("/b", "/a/...", "/a/b"), ("b", "/a", "/a/b")],
)
def test_patterns(text: str, parent: str | None, expected: str) -> None:
    pattern = read_pattern(text, Findings("file"), RoutePattern(parent) if parent else None)
    assert pattern
    assert pattern.text == expected


@pytest.mark.parametrize("text", ["a", "/a?b", "/a/../b", "/../b"])
def test_an_invalid_route_is_a_problem(text: str) -> None:
    findings = Findings("file")
    assert read_pattern(text, findings) is None
    assert findings.problems[0].what.startswith(f'route = "{text}": ')
