"""Opening a directory beneath a volume."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wagi_gateway.sandbox.beneath import open_directory_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "volume" / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "volume" / "file").touch()
    for name, target in (
        ("to-a", "a"),
        ("to-b", "./to-a/../a/b"),
        ("out", "../outside"),
        ("absolute", str(tmp_path / "volume" / "a")),
        ("loop", "loop"),
    ):
        (tmp_path / "volume" / name).symlink_to(target)
    return tmp_path / "volume"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "."),
        (".", "."),
        ("a", "a"),
        ("a//b/", "a/b"),
        ("a/b/..", "a"),
        ("a/../a/./b", "a/b"),
        ("to-a", "a"),
        ("to-a/b", "a/b"),
        ("to-b", "a/b"),
        ("to-b/..", "a"),
    ],
)
def test_directories(root: Path, path: str, expected: str) -> None:
    descriptor = open_directory_beneath(bytes(root), path.encode())
    try:
        assert os.path.samestat(os.fstat(descriptor), (root / expected).stat())
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "path",
    ["..", "a/../..", "out", "absolute", "loop", "file", "file/x", "absent", "a/b/../../..", "to-a/../../outside"],
)
def test_everything_else_is_refused(root: Path, path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"\[Errno"):
        open_directory_beneath(bytes(root), path.encode())
    assert len(os.listdir("/proc/self/fd")) == before
