"""The folder of a Pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pods import a_pod
from wagi_gateway.node.pods.folder import PodFolder


def test_a_folder_is_private_and_keeps_the_pod(tmp_path: Path) -> None:
    folder = PodFolder.of(tmp_path, "u-1")
    folder.make()
    folder.make()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.save_manifest(a_pod())
    assert folder.load_manifest() == a_pod()
    assert list(PodFolder.all(tmp_path)) == [folder]
    folder.remove()
    assert list(PodFolder.all(tmp_path)) == []
    assert list(PodFolder.all(tmp_path / "absent")) == []


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_damaged_manifest_is_none(tmp_path: Path, text: str) -> None:
    folder = PodFolder.of(tmp_path, "u")
    assert folder.load_manifest() is None
    folder.make()
    folder.manifest.write_text(text)
    assert folder.load_manifest() is None


@pytest.mark.parametrize("uid", ["", "..", "a/b", "../x", "x" * 200])
def test_a_uid_is_a_file_name(tmp_path: Path, uid: str) -> None:
    with pytest.raises(ValueError, match="no uid"):
        PodFolder.of(tmp_path, uid)


def test_the_logs_of_two_runs_are_kept(tmp_path: Path) -> None:
    folder = PodFolder.of(tmp_path, "u")
    folder.log("c", 0).parent.mkdir(parents=True)
    for name in ("0.log", "0.log.1", "1.log", "2.log", "other.log"):
        (folder.log("c", 0).parent / name).touch()
    folder.prune_logs(2)
    assert sorted(one.name for one in folder.log("c", 0).parent.iterdir()) == ["1.log", "2.log", "other.log"]
    assert folder.previous_log("c", 2) == folder.log("c", 1)
    assert folder.previous_log("c", 1) is None
    assert folder.previous_log("c", 0) is None
