"""One finding."""

from __future__ import annotations

from wagi_gateway.doctor.finding import Finding


def test_a_finding_may_lack_advice() -> None:
    assert Finding("ok", "all is there").advice == ""
