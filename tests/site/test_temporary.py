"""Temporary directories are removed with whatever guests left in them."""

from __future__ import annotations

import gc
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wagi_gateway.site.temporary import TemporaryDirectory, remove_tree

SOMEBODY = 65534
"""A user without privileges."""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; outside of pytest's own directory, which is closed to other users."""
    assert tmp_path  # made before the next line changes where
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Permission bits count: for root they would not."""
    if os.geteuid():
        yield
        return
    os.seteuid(SOMEBODY)
    yield
    os.seteuid(0)


def nest(top: str, depth: int, name: str = "d", *, and_file: bool = True) -> None:
    """Directories inside of each other, with a file in each, made as a guest makes them: no path is long."""
    directory = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=directory)
        inner = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
        if and_file:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)


def names_of_any_bytes(top: str) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"\x01", b" ", b"-rf", "ü".encode(), b"x" * 255, b"..."):
        os.mkdir(os.path.join(os.fsencode(top), name))
        Path(os.fsdecode(os.path.join(os.fsencode(top), name)), os.fsdecode(name)).touch()


def without_permission(top: str) -> None:
    nest(top, 5)
    for mode in (0o000, 0o400, 0o200, 0o100, 0o500):
        outer = Path(top, f"{mode:o}")
        (outer / "inner/more").mkdir(parents=True)
        (outer / "inner/more/file").touch(0o000)
        (outer / "inner").chmod(mode)
        outer.chmod(mode)
    Path(top, "d/d").chmod(0o000)
    Path(top).chmod(0o000)


def special_files(top: str) -> None:
    os.mkfifo(os.path.join(top, "pipe"))
    os.symlink("/nowhere", os.path.join(top, "dangling"))
    os.symlink(top, os.path.join(top, "circle"))
    os.symlink("..", os.path.join(top, "up"))


def many(top: str) -> None:
    for number in range(50):
        directory = Path(top, str(number))
        (directory / "a/b").mkdir(parents=True)
        (directory / "a/b/file").touch()
    for number in range(1000):
        Path(top, f"f{number}").touch()


LEFT: dict[str, Callable[[str], object]] = {
    "nothing": os.listdir,
    "1,000 levels": lambda top: nest(top, 1000),
    "more than PATH_MAX": lambda top: nest(top, 2500, and_file=False),
    "long names": lambda top: nest(top, 100, "n" * 255, and_file=False),
    "any bytes": names_of_any_bytes,
    "no permission": without_permission,
    "special files": special_files,
    "many": many,
}


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("leave", LEFT.values(), ids=LEFT)
def test_whatever_is_left_is_removed(parent: Path, leave: Callable[[str], object]) -> None:
    directory = TemporaryDirectory()
    leave(directory.name)
    directory.cleanup()
    directory.cleanup()
    assert not os.path.lexists(directory.name)
    assert os.listdir(parent) == []


@pytest.mark.parametrize("leave", [LEFT["1,000 levels"], many], ids=["deep", "wide"])
def test_three_descriptors_and_no_recursion(leave: Callable[[str], object]) -> None:
    directory = TemporaryDirectory()
    leave(directory.name)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(150)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 3, hard))
    try:
        failure = remove_tree(directory.name)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sys.setrecursionlimit(limit)
    assert failure is None
    assert not os.path.exists(directory.name)


def test_what_links_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "outside/more").mkdir(parents=True)
    (tmp_path / "outside/file").touch()
    (tmp_path / "outside").chmod(0o500)
    directory = TemporaryDirectory()
    os.symlink(tmp_path / "outside", os.path.join(directory.name, "link"))
    os.link(tmp_path / "outside/file", os.path.join(directory.name, "hard"))
    directory.cleanup()
    assert not os.path.exists(directory.name)
    assert sorted(os.listdir(tmp_path / "outside")) == ["file", "more"]
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o500


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what its other users cannot remove")
def test_what_cannot_be_removed_is_logged_once_and_the_rest_is_removed(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    directory = TemporaryDirectory()
    kept = Path(directory.name, "deep/kept")
    kept.mkdir(parents=True)
    (kept / "file").touch()
    for path in (Path(directory.name), kept.parent):
        os.chown(path, SOMEBODY, SOMEBODY)  # but `kept` is root's
    request.getfixturevalue("unprivileged")
    nest(str(kept.parent), 20)
    directory.cleanup()
    directory.cleanup()
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"the temporary directory {directory.name} cannot be removed: ")
    assert [files for _, _, files in os.walk(directory.name) if files] == [["file"]]


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_is_no_directory_any_more_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    directory = TemporaryDirectory()
    os.rename(directory.name, tmp_path / "elsewhere")
    (tmp_path / "elsewhere/file").touch()
    if what == "file":
        Path(directory.name).touch()
    else:
        os.symlink(tmp_path / "elsewhere", directory.name)
    directory.cleanup()
    assert [directory.name in record.getMessage() for record in caplog.records] == [True]
    assert (tmp_path / "elsewhere/file").exists()


def test_one_that_is_gone_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    directory = TemporaryDirectory()
    os.rmdir(directory.name)
    directory.cleanup()
    assert caplog.records == []


def test_one_that_was_forgotten_is_removed() -> None:
    directory = TemporaryDirectory()
    name = directory.name
    nest(name, 10)
    del directory
    gc.collect()
    assert not os.path.exists(name)
