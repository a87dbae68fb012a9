"""`subPath` of a mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.node.pods.sub_path import check_sub_path, make_sub_path
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


def test_files_of_the_cluster_have_directories_too(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    check_sub_path(tmp_path, "d")
    for path in ("f", "absent"):
        with pytest.raises(BadVolume, match="mount the volume"):
            check_sub_path(tmp_path, path)
