"""Patterns of watched files."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from wagi_gateway.build import watch
from wagi_gateway.build.watch import WatchPatterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.c", "a.c .c", "a.h sub/a.c a.cc"),
        ("src/**", "src/a src/a/b.rs", "src asrc/a a/src/b"),
        ("**/*.go", "a.go a/b/c.go", "a.god a/go"),
        ("**", "a a/b", ""),
        ("Cargo.*", "Cargo.toml Cargo.lock", "cargo.toml Cargotoml"),
        ("./app/?.py", "app/a.py", "app/ab.py app/.py/x"),
        ("app/[a].py", "app/[a].py", "app/a.py"),
        ("../a", "", "a ../b"),
        ("/a", "", "a"),
    ],
)
def test_a_pattern_matches_paths(pattern: str, matching: str, others: str) -> None:
    patterns = WatchPatterns([pattern])
    assert [path for path in matching.split() if not patterns.matches(PurePath(path))] == []
    assert [path for path in others.split() if patterns.matches(PurePath(path))] == []


def test_no_pattern_matches_nothing() -> None:
    assert not WatchPatterns([]).matches(PurePath("a"))


FILES = "main.c sub/a.c sub/b.h .git/c.c node_modules/d.c target/e.c"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["**/*.c"], "main.c sub/a.c"),
        (["*.c", "sub/**"], "main.c sub/a.c sub/b.h"),
        (["target/*.c"], "target/e.c"),
        ([], ""),
    ],
    ids=["below", "two", "an-output-by-name", "none"],
)
def test_files_are_found(folder: Path, patterns: list[str], found: str) -> None:
    assert sorted(WatchPatterns(patterns).files(folder)) == [folder / name for name in found.split()]


def test_the_number_of_files_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_FILES", 2)
    assert len(list(WatchPatterns(["**"]).files(folder))) == 2
