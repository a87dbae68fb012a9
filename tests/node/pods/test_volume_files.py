"""The files of a volume: replaced at once, and never outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.node.pods import volume_files
from wagi_gateway.node.pods.volume_files import BadVolume, VolumeFile, check_path, write_files


def content(directory: Path) -> dict[str, str]:
    """What a guest sees: the files below names that do not begin with two dots."""
    found = {}
    for top in directory.iterdir():
        if not top.name.startswith(".."):
            for path in [top, *top.rglob("*")]:
                if path.is_file():
                    found[str(path.relative_to(directory))] = path.read_text()
    return found


def files(**texts: str) -> dict[str, VolumeFile]:
    return {name.replace("__", "/"): VolumeFile(text.encode()) for name, text in texts.items()}


def test_files_are_links_into_one_generation(tmp_path: Path) -> None:
    assert write_files(tmp_path, files(a="1", d__b="2"))
    assert content(tmp_path) == {"a": "1", "d/b": "2"}
    assert str((tmp_path / "a").readlink()) == "..data/a"
    assert len(list(tmp_path.glob("..[0-9a-f]*"))) == 2  # ..data and one generation


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    write_files(tmp_path, files(a="1"))
    before = (tmp_path / "..data").readlink()
    assert not write_files(tmp_path, files(a="1"))
    assert (tmp_path / "..data").readlink() == before
    assert write_files(tmp_path, {"a": VolumeFile(b"1", 0o600)})


def test_another_content_replaces_all_of_it(tmp_path: Path) -> None:
    write_files(tmp_path, files(a="1", b="2", d__c="3"))
    assert write_files(tmp_path, files(a="x", e="5"))
    assert content(tmp_path) == {"a": "x", "e": "5"}
    assert sum(1 for one in tmp_path.iterdir() if one.is_dir() and not one.is_symlink()) == 1


def test_a_file_has_its_mode_and_its_owner_may_read_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": VolumeFile(b"", 0o440), "b": VolumeFile(b"", 0)})
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o440, 0o400]


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "", ".", "..data", "..x/y", "a\0b", "x" * 300, "a/" * 2000 + "b"]
)
def test_a_path_stays_in_the_volume(tmp_path: Path, path: str) -> None:
    write_files(tmp_path / "v", files(a="1"))
    with pytest.raises(BadVolume):
        write_files(tmp_path / "v", {path: VolumeFile(b"x")})
    assert content(tmp_path / "v") == {"a": "1"}
    assert [one.name for one in tmp_path.iterdir()] == ["v"]


def test_a_path_is_normalised() -> None:
    assert check_path("a//./b") == "a/b"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(BadVolume, match="a file and a directory"):
        write_files(tmp_path, files(a="1", a__b="2"))


@pytest.mark.parametrize(("name", "value"), [("MAX_FILES", 1), ("MAX_BYTES", 1)])
def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    monkeypatch.setattr(volume_files, name, value)
    with pytest.raises(BadVolume, match="more than"):
        write_files(tmp_path, files(a="1", b="2"))


def test_a_failed_write_leaves_the_earlier_content(tmp_path: Path) -> None:
    write_files(tmp_path, files(a="1"))
    (tmp_path / "..data_tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_files(tmp_path, files(a="2"))
    assert content(tmp_path) == {"a": "1"}
    assert sum(1 for one in tmp_path.iterdir() if one.is_dir() and not one.is_symlink()) == 2


def test_a_damaged_generation_is_written_anew(tmp_path: Path) -> None:
    write_files(tmp_path, files(a="1"))
    (tmp_path / "..data" / "a").unlink()
    assert write_files(tmp_path, files(a="1"))
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("/etc")
    assert write_files(tmp_path, files(a="1"))
    assert content(tmp_path) == {"a": "1"}
