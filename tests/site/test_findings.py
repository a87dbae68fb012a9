"""Findings at several locations."""

from __future__ import annotations

from wagi_gateway.site.findings import Findings


def test_locations_share_their_lists() -> None:
    findings = Findings("file")
    module = findings.at("[[module]] 1")
    module.refuse("a")
    findings.refuse("b")
    module.warn("c")
    assert [str(problem) for problem in findings.problems] == ["[[module]] 1: a", "file: b"]
    assert [str(warning) for warning in findings.warnings] == ["[[module]] 1: c"]
    assert findings.problems is module.problems
