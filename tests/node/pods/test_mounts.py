"""The mounts of a container: `subPath` and `subPathExpr` of directories and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wagi_gateway.node.pods import mounts as module
from wagi_gateway.node.pods.mounts import MadeVolume, VolumeMounts, make_mounts
from wagi_gateway.node.pods.volume_files import VolumeFile, write_files
from wagi_gateway.node.pods.volume_kinds import VolumeNotReady

FILES = {"app.conf": VolumeFile(b"1"), "b.conf": VolumeFile(b"2"), "d/c.conf": VolumeFile(b"3")}


def made(tmp_path: Path, *mounts: dict[str, Any], **environment: str) -> VolumeMounts:
    """The mounts of a container with the volumes `config`, `optional`, `projected` and `data`."""
    projected = {"sources": [{"configMap": {"name": "c", "optional": True}}]}
    specs: dict[str, dict[str, Any]] = {
        "config": {"configMap": {"name": "c"}},
        "optional": {"secret": {"secretName": "s", "optional": True}},
        "projected": {"projected": projected},
        "data": {"emptyDir": {}},
    }
    (tmp_path / "data").mkdir(exist_ok=True)
    write_files(tmp_path / "config", FILES)
    write_files(tmp_path / "optional", {})
    write_files(tmp_path / "projected", {})
    volumes = {name: MadeVolume({"name": name, **spec}, tmp_path / name) for name, spec in specs.items()}
    return make_mounts({"name": "hello", "volumeMounts": list(mounts)}, volumes, environment, tmp_path / "target")


def guest_files(found: VolumeMounts) -> dict[str, str]:
    """What a guest finds in the mounts of the cluster's files, by its own paths."""
    return {
        f"{mount['mountPath'].rstrip('/')}/{path.relative_to(directory)}": path.read_text()
        for mount in found.volume_mounts
        if (directory := found.directories.get(mount["name"]))
        for path in directory.rglob("*")
        if path.is_file()
    }


def mount(name: str, place: str, **fields: str) -> dict[str, Any]:
    return {"name": name, "mountPath": place, **fields}


def test_a_mount_without_a_sub_path_stays() -> None:
    mounts = [mount("config", "/etc"), mount("ghost", "/x", subPath="y")]
    assert make_mounts({"name": "hello", "volumeMounts": mounts}, {}, {}, Path("/nowhere")).volume_mounts == mounts


def test_files_are_those_of_their_directory(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        mount("config", "/etc/app.conf", subPath="app.conf"),
        mount("config", "/etc/other", subPath="b.conf"),
        mount("config", "/top", subPath="d/c.conf"),
        mount("config", "/etc/d", subPath="d"),
    )
    assert guest_files(found) == {"/etc/app.conf": "1", "/etc/other": "2", "/top": "3", "/etc/d/c.conf": "3"}
    assert all(one["readOnly"] for one in found.volume_mounts)


def test_a_sub_path_does_not_follow_its_source(tmp_path: Path) -> None:
    mounts = mount("config", "/etc/app.conf", subPath="app.conf"), mount("config", "/d", subPath="d")
    found = made(tmp_path, *mounts)
    write_files(tmp_path / "config", {"app.conf": VolumeFile(b"new")})
    assert guest_files(found) == {"/etc/app.conf": "1", "/d/c.conf": "3"}
    assert guest_files(made(tmp_path, *mounts)) == {"/etc/app.conf": "1", "/d/c.conf": "3"}  # made anew


@pytest.mark.parametrize("volume", ["optional", "projected"])
def test_a_file_that_is_optional_may_be_absent(tmp_path: Path, volume: str) -> None:
    found = made(tmp_path, mount(volume, "/etc/x", subPath="x"))
    assert [one["mountPath"] for one in found.volume_mounts] == ["/etc/x"]
    assert guest_files(found) == {}


def test_a_directory_of_a_volume_that_guests_write_to_is_made(tmp_path: Path) -> None:
    found = made(tmp_path, mount("data", "/data", subPathExpr="$(WHO)/./x"), WHO="me")
    assert (tmp_path / "data/me/x").is_dir()
    assert found.volume_mounts[0]["subPath"] == "me/x"
    assert found.directories == {}


@pytest.mark.parametrize(
    ("mounts", "message"),
    [
        ([mount("config", "/x", subPath="ghost")], "no such file"),
        ([mount("config", "/x", subPath="../data")], "must be a relative path"),
        ([mount("data", "/x", subPath="/etc")], "must be a relative path"),
        ([mount("data", "/x", subPathExpr="$(UP)/$(UP)/above-the-volume")], "must be a relative path"),
        ([mount("config", "/x", subPathExpr="$(UP)")], "must be a relative path"),
        ([mount("data", "/x", subPathExpr="$(GHOST)")], "missing value for 'GHOST'"),
        ([mount("data", "/x", subPathExpr="$(LONG)$(LONG)")], "longer than"),
        ([mount("config", "/", subPath="app.conf")], "in the place of /"),
        ([mount("data", "/etc"), mount("config", "/etc/a", subPath="app.conf")], "so is a file"),
        ([mount("config", "/etc/a", subPath="app.conf"), mount("data", "/etc/")], "so is a file"),
    ],
)
def test_a_sub_path_that_is_refused(tmp_path: Path, mounts: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(VolumeNotReady, match=message):
        made(tmp_path, *mounts, UP="..", LONG="x" * 3000)
    assert not list(tmp_path.parent.rglob("above-the-volume"))


def test_the_files_of_sub_paths_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(VolumeNotReady, match="more than 1 files"):
        made(tmp_path, *(mount("config", f"/{number}", subPath="d") for number in range(2)))
