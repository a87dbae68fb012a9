"""The artefact cache: atomic writes, verification, refusal of unsafe files and directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wagi_gateway.compiler.cache import ArtefactCache, CacheRefused


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache"


def test_what_is_stored_is_found(directory: Path) -> None:
    cache = ArtefactCache(directory)
    assert cache.find("k") is None
    path = cache.store("k", b"code")
    assert cache.find("k") == path
    assert path.read_bytes() == b"code"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"c0de"),
        lambda path: path.write_bytes(b"co"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.chmod(0o666),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text("[]"),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: (path.unlink(), path.symlink_to("/dev/null")),
    ],
    ids=["changed", "cut", "empty", "gone", "writable", "no record", "odd record", "bad record", "a link"],
)
def test_what_is_spoiled_is_not_found(directory: Path, spoil: Callable[[Path], object]) -> None:
    cache = ArtefactCache(directory)
    spoil(cache.store("k", b"code"))
    assert cache.find("k") is None


def test_a_change_of_equal_size_and_time_is_noticed(directory: Path) -> None:
    cache = ArtefactCache(directory)
    path = cache.store("k", b"code")
    status = path.stat()
    path.write_bytes(b"evil")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.find("k") is None


def test_a_copied_cache_is_verified_once_and_used(directory: Path, tmp_path: Path) -> None:
    ArtefactCache(directory).store("k", b"code")
    copy = ArtefactCache(tmp_path / "copy")
    for file in (directory / "k.cwasm", directory / "k.json"):
        (copy.directory / file.name).write_bytes(file.read_bytes())
        (copy.directory / file.name).chmod(0o600)
    before = (copy.directory / "k.json").read_bytes()
    found = copy.find("k")
    assert found
    assert found.samefile(copy.directory / "k.cwasm")
    after = (copy.directory / "k.json").read_bytes()
    assert before != after
    assert copy.find("k") is not None
    assert (copy.directory / "k.json").read_bytes() == after


def test_another_ones_artefact_is_not_found(directory: Path) -> None:
    cache = ArtefactCache(directory)
    for suffix in (".cwasm", ".json"):
        (directory / f"k{suffix}").write_bytes(cache.store("other", b"code").with_suffix(suffix).read_bytes())
        (directory / f"k{suffix}").chmod(0o600)
    assert cache.find("k") is None


def test_a_failed_write_leaves_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ArtefactCache(directory)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        cache.store("k", b"code")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_directory_others_may_write_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir(parents=True)
    directory.chmod(mode)
    if mode & 0o022:
        with pytest.raises(CacheRefused, match="writable by others"):
            ArtefactCache(directory)


def test_a_link_is_refused(directory: Path, tmp_path: Path) -> None:
    directory.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheRefused, match="is a symbolic link"):
        ArtefactCache(directory)


def test_a_file_in_its_place_is_refused(directory: Path) -> None:
    directory.parent.mkdir()
    directory.touch()
    with pytest.raises(CacheRefused, match="cannot be made"):
        ArtefactCache(directory)
