"""Volumes: each directory is opened once, so that no guest can replace it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.sandbox import warm
from wagi_gateway.config.settings import VolumeConfig
from wagi_gateway.sandbox.invocation import GuestVolume
from wagi_gateway.site.volumes import Volumes, with_devices


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    opened = Volumes(tmp_path)
    yield opened
    opened.close()


def replace_by_a_link(directory: Path, target: str) -> None:
    directory.rename(directory.with_name("old"))
    directory.symlink_to(target)


def test_a_directory_that_was_replaced_is_still_the_old_one(tmp_path: Path, volumes: Volumes) -> None:
    sub = volumes.open(VolumeConfig(path="data/sub"))
    (tmp_path / "data/sub/inside").touch()
    replace_by_a_link(tmp_path / "data/sub", "../outside")
    assert os.listdir(sub.host_path) == [b"inside"]
    assert sub.real_path == tmp_path / "data/old"


@pytest.mark.parametrize("read_only", [True, False])
def test_a_link_out_of_a_writable_volume(tmp_path: Path, volumes: Volumes, read_only: bool) -> None:
    replace_by_a_link(tmp_path / "data/sub", "../outside")
    sub = volumes.open(VolumeConfig(path="data/sub", read_only=True))
    volumes.open(VolumeConfig(path="data", read_only=read_only))
    if read_only:
        volumes.check(sub)
    else:
        with pytest.raises(ValueError, match="a symbolic link leads it out of the volume"):
            volumes.check(sub)


def test_a_link_that_stays_inside(tmp_path: Path, volumes: Volumes) -> None:
    (tmp_path / "data/link").symlink_to("sub")
    volumes.open(VolumeConfig(path="data"))
    volumes.check(volumes.open(VolumeConfig(path="data/link")))


def test_temporary_directories_are_shared_and_removed(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    one, same, other = (volumes.open(VolumeConfig(temporary=name)) for name in ("a", "a", "b"))
    assert (one.path, one.path.is_dir()) == (same.path, True)
    assert one.path != other.path
    volumes.close()
    assert [directory.path.exists() for directory in (one, other)] == [False, False]


def test_one_failure_does_not_keep_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that is no longer one, and a descriptor that somebody else has closed."""
    volumes = Volumes(tmp_path)
    opened = [volumes.open(VolumeConfig(temporary=name)) for name in "abcd"]
    os.close(opened[0].descriptor)
    for replaced in (opened[0].path, opened[2].path):
        replaced.rmdir()
        replaced.touch()
    volumes.close()
    volumes.close()
    assert [volume.path.exists() for volume in opened] == [True, False, True, False]
    assert [str(volume.path) in caplog.text for volume in opened] == [True, False, True, False]
    assert len(caplog.records) == 2
    for volume in opened:
        volume.path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("path", "problem"),
    [("nowhere", "there is no directory"), ("file", "there is no directory"), ("oci:x/y:1", "does not come from")],
)
def test_what_is_no_directory(tmp_path: Path, volumes: Volumes, path: str, problem: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=problem):
        volumes.open(VolumeConfig(path=path))


OPENS = """(module (import "wasi_snapshot_preview1" "path_open"
  (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (memory (export "memory") 1) (func (export "_start")))"""
DEVICES = GuestVolume(b"", b"/dev", is_writable=False)


@pytest.mark.parametrize(
    ("guest", "has_dev", "has_devices"),
    [
        ("/data", True, True),
        ("/", False, True),
        ("/", True, False),
        (".", True, False),
        ("/dev", False, False),
        ("/dev/", False, False),
        ("dev", False, False),
        ("/dev/shm", False, True),
        ("/device", False, True),
    ],
)
def test_a_guest_has_devices_but_with_a_directory_of_its_own(
    tmp_path: Path, guest: str, has_dev: bool, has_devices: bool
) -> None:
    (tmp_path / "host").mkdir()
    if has_dev:
        (tmp_path / "host/dev").mkdir()
    volume = GuestVolume(bytes(tmp_path / "host"), guest.encode(), is_writable=True)
    opens = warm(OPENS, has_files=True)
    assert with_devices((volume,), opens) == (volume, *([DEVICES] if has_devices else []))
    assert with_devices((), opens) == ()
    assert with_devices((volume,), warm(guests.HELLO, has_files=True)) == (volume,)


def test_no_link_leads_out_of_beneath(tmp_path: Path, volumes: Volumes) -> None:
    """The link is there before the directory is opened, and its target is no volume."""
    inside = VolumeConfig(path="data/sub", beneath="data")
    assert volumes.open(inside).real_path == tmp_path / "data/sub"
    volumes.close()
    replace_by_a_link(tmp_path / "data/sub", "old")
    assert volumes.open(inside).real_path == tmp_path / "data/old"
    volumes.close()
    for target in ("../outside", str(tmp_path / "outside")):
        (tmp_path / "data/sub").unlink()
        (tmp_path / "data/sub").symlink_to(target)
        with pytest.raises(ValueError, match=f"a symbolic link leads it out of {tmp_path}/data; remove the link"):
            volumes.open(inside)


def test_beneath_need_not_be_readable(tmp_path: Path, volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is searched alone."""
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path) != tmp_path / "data")
    assert volumes.open(VolumeConfig(path="data/sub", beneath="data")).real_path == tmp_path / "data/sub"


def test_a_path_beside_beneath(volumes: Volumes) -> None:
    with pytest.raises(ValueError, match=r"data is not below .*outside; name a directory above it"):
        volumes.open(VolumeConfig(path="data", beneath="outside"))


def test_a_temporary_directory_has_no_beneath() -> None:
    with pytest.raises(ValueError, match="beneath is for a path"):
        VolumeConfig(temporary="a", beneath="data")
