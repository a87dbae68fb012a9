"""Environment variables from the command line and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.config.envfile import parse_env_file, parse_variable
from wagi_gateway.errors import StartupError


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("A=b", ("A", "b")),
        ("A=", ("A", "")),
        ("A=b=c", ("A", "b=c")),
        ('A="b c"', ("A", "b c")),
        ("A='b'", ("A", "b")),
        ('A="b', ("A", '"b')),
        ('TEST_NAME = "test value"', ("TEST_NAME", "test value")),
    ],
)
def test_variable(text: str, variable: tuple[str, str]) -> None:
    assert parse_variable(text) == variable


@pytest.mark.parametrize("text", ["", "A", "=b", "A B=c", "A=\0"])
def test_no_variable(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=VALUE|NUL"):
        parse_variable(text)


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text('# comment\n\nA = "b c"\n  # another\nexport C=d\nA=later\n')
    assert parse_env_file(path) == {"A": "later", "C": "d"}


def test_every_mistake_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB\n=2\n")
    with pytest.raises(StartupError) as caught:
        parse_env_file(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:2", f"{path}:3"]


@pytest.mark.parametrize("content", [None, b"\xff=1"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "env"
    if content:
        path.write_bytes(content)
    with pytest.raises(StartupError, match="cannot be read"):
        parse_env_file(path)
