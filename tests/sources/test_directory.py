"""Private directories: refused ones, and concurrent reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from wagi_gateway.sources.directory import STALE, DirectoryRefused, PrivateDirectory

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    directory = PrivateDirectory(tmp_path / "deep/store")
    directory.write("a/b/file", b"one")
    directory.write("a/b/file", b"two")
    assert directory.read("a/b/file", 3) == b"two"
    assert os.listdir(tmp_path / "deep/store/a/b") == ["file"]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_no_other_user_has_access_with_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        PrivateDirectory(tmp_path / "cache/store").write("a/b/file", b"")
        for path in ("cache", "cache/store", "cache/store/a", "cache/store/a/b"):
            assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "cache/store/a/b/file").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_directory_that_is_deleted_comes_back(tmp_path: Path) -> None:
    directory = PrivateDirectory(tmp_path / "store")
    (tmp_path / "store").rmdir()
    assert directory.read("a/file", 1) is None
    assert list(directory.names("a")) == []
    directory.remove_stale("a")
    directory.write("a/file", b"x")
    assert directory.read("a/file", 1) == b"x"
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def link(path: Path) -> None:
    path.parent.joinpath("other").mkdir(mode=0o700)
    path.symlink_to("other")


def writable(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)


def replace_parent(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (link, "is a symbolic link"),
    "a file": (lambda path: path.write_text(""), "cannot be made a directory: File exists"),
    "below a file": (replace_parent, "cannot be made a directory"),
    "writable by the group": (lambda path: writable(path, 0o770), r"writable by others \(mode 0770\); choose a"),
    "writable by all": (lambda path: writable(path, 0o702), r"writable by others \(mode 0702\); choose a"),
}


@pytest.mark.parametrize(("make", "text"), REFUSED.values(), ids=REFUSED)
def test_a_directory_that_is_refused(tmp_path: Path, make: Callable[[Path], object], text: str) -> None:
    (tmp_path / "up").mkdir()
    make(tmp_path / "up/store")
    with pytest.raises(DirectoryRefused, match=text):
        PrivateDirectory(tmp_path / "up/store")


@is_root
def test_a_directory_of_another_owner_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o700)
    os.chown(tmp_path / "store", 65534, 65534)
    with pytest.raises(DirectoryRefused, match="belongs to user 65534, not to user 0 who runs this"):
        PrivateDirectory(tmp_path / "store")


def make_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


NOT_READ: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "larger": lambda path: path.write_bytes(b"1234"),
    "writable by others": lambda path: path.chmod(0o666),
    "a link": make_link,
    "a directory": make_directory,
    "a pipe": make_pipe,
}


@pytest.mark.parametrize("spoil", NOT_READ.values(), ids=NOT_READ)
def test_a_file_that_is_not_read(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    directory = PrivateDirectory(tmp_path / "store")
    directory.write("a/file", b"123")
    spoil(tmp_path / "store/a/file")
    assert directory.read("a/file", 3) is None


@is_root
def test_a_file_of_another_owner_is_not_read(tmp_path: Path) -> None:
    directory = PrivateDirectory(tmp_path / "store")
    directory.write("a/file", b"123")
    os.chown(tmp_path / "store/a/file", 65534, 65534)
    assert directory.read("a/file", 3) is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    directory = PrivateDirectory(tmp_path / "store")
    (tmp_path / "store/a/file/full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        directory.write("a/file", b"x")
    assert os.listdir(tmp_path / "store/a") == ["file"]


def test_leftovers_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    directory = PrivateDirectory(tmp_path / "store")
    directory.write("a/file", b"")
    for name in (".new-old", "old.lock", ".new-now", "now.lock"):
        (tmp_path / "store/a" / name).write_text("")
    for name in (".new-old", "old.lock", "file"):
        os.utime(tmp_path / "store/a" / name, (0, directory.used("a/now.lock") - STALE - 1))
    directory.remove_stale("a")
    assert sorted(os.listdir(tmp_path / "store/a")) == [".new-now", "file", "now.lock"]
    assert list(directory.names("a")) == ["a/file", "a/now.lock"]
