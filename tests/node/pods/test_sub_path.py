"""`subPath` of a mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.node.pods.sub_path import link_files, make_sub_path
from wagi_gateway.node.pods.volume_files import BadVolume


def test_directories_are_made(tmp_path: Path) -> None:
    make_sub_path(tmp_path, "a//b")
    make_sub_path(tmp_path, "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()


@pytest.mark.parametrize("path", ["link/x", "link", "file"])
def test_a_link_of_a_guest_leads_nowhere(tmp_path: Path, path: str) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "link").symlink_to(outside)
    (volume / "file").touch()
    with pytest.raises(BadVolume, match="directories only"):
        make_sub_path(volume, path)
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_volume_leads_nowhere(tmp_path: Path) -> None:
    """Guests of another Pod may write to the directory that holds the volume."""
    for name in ("shared", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "shared/volume").symlink_to(tmp_path / "outside")
    with pytest.raises(BadVolume, match="directories only"):
        make_sub_path(tmp_path / "shared/volume", "a", tmp_path / "shared")
    assert list((tmp_path / "outside").iterdir()) == []
    (tmp_path / "shared/volume").unlink()
    make_sub_path(tmp_path / "shared/volume", "a", tmp_path / "shared")
    assert (tmp_path / "shared/volume/a").is_dir()


def test_links_of_files_keep_their_content(tmp_path: Path) -> None:
    """The source is replaced, as the generations of a volume are."""
    (tmp_path / "source/d").mkdir(parents=True)
    for path in ("a", "d/b"):
        (tmp_path / "source" / path).write_text("old")
    assert link_files(tmp_path / "source", tmp_path / "target") == 2
    (tmp_path / "source/d/b").unlink()
    (tmp_path / "source/d/b").write_text("new")
    assert (tmp_path / "target/d/b").read_text() == "old"
    assert link_files(tmp_path / "source/a", tmp_path / "one/file") == 1
    assert link_files(tmp_path / "absent", tmp_path / "empty") == 0
    assert (tmp_path / "empty").is_dir()
