"""`$(VAR)`, with the cases of Kubernetes' own test (third_party/forked/golang/expansion)."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod.variables import expand

VARIABLES = {"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)$(VAR_B)-x", "AB-x"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("foo$(VAR_EMPTY)bar", "foobar"),
        ("$(VAR_DNE)", "$(VAR_DNE)"),
        ("$$(VAR_A)", "$(VAR_A)"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$(VAR_A)", "$$(VAR_A)"),
        ("\\$(VAR_A)", "\\A"),
        ("f000-$$VAR_A", "f000-$VAR_A"),
        ("foo\\$(VAR_A)bar", "foo\\Abar"),
        ("$?$(VAR_A)", "$?A"),
        ("$VAR_A", "$VAR_A"),
        ("${VAR_A}", "${VAR_A}"),
        ("$(VAR_A", "$(VAR_A"),
        ("$($$x", "$($x"),
        ("$()", "$()"),
        ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
        ("a$", "a$"),
        ("$$", "$"),
        ("", ""),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, VARIABLES, 100) == expanded


def test_bound() -> None:
    assert len(expand("$(A)" * 10, {"A": "x" * 10}, 100)) == 100
    with pytest.raises(ValueError, match="too large"):
        expand("$(A)" * 11, {"A": "x" * 10}, 100)
