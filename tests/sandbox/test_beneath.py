"""Opening a directory beneath a volume."""

from __future__ import annotations

import os
import resource
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
        ("a/b/../../a/b/../b", "a/b"),
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


@pytest.mark.parametrize("end", ["", "/..", "/../d/..", "/to-above"], ids=["down", "up", "up and down", "link"])
def test_two_descriptors_are_enough_for_a_deep_path(tmp_path: Path, end: str) -> None:
    """A guest's own descriptors are bounded by `limits.files`, and not by the depth of a path."""
    (tmp_path / ("d/" * 200)).mkdir(parents=True)
    (tmp_path / ("d/" * 200) / "to-above").symlink_to("..")
    unused = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
    for descriptor in unused:
        os.close(descriptor)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(unused) + 1, before[1]))
    try:
        os.close(open_directory_beneath(bytes(tmp_path), b"d/" * 199 + b"d" + end.encode()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
