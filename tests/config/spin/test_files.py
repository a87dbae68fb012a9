"""Spin's files as read-only volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.config.spin.files import convert_files
from wagi_gateway.config.spin.manifest import SpinFiles


@pytest.mark.parametrize(
    ("entry", "guest", "host"),
    [
        (SpinFiles(source="data", destination="/data"), "/data", "data"),
        (SpinFiles(source="static/", destination="/"), "/", "static"),
        (SpinFiles(source="lib", destination="lib/"), "/lib", "lib"),
        (SpinFiles(source="/", destination="/host"), "/host", "/"),
        (SpinFiles(pattern="content/**/*"), "/content", "content"),
        (SpinFiles(pattern="./a/b/**"), "/a/b", "./a/b"),
    ],
)
def test_a_directory_is_a_volume(tmp_path: Path, entry: SpinFiles, guest: str, host: str) -> None:
    assert convert_files([entry], tmp_path) == ({guest: {"path": host, "read_only": True}}, [])


@pytest.mark.parametrize(
    "entry",
    [
        SpinFiles(pattern="one.txt"),
        SpinFiles(pattern="a/*.html"),
        SpinFiles(pattern="*"),
        SpinFiles(source="file", destination="/file"),
        SpinFiles(source="", destination="/x"),
    ],
    ids="file|pattern|everything|source is a file|no source".split("|"),
)
def test_files_are_no_volume(tmp_path: Path, entry: SpinFiles) -> None:
    (tmp_path / "file").touch()
    volumes, (doubt,) = convert_files([entry], tmp_path)
    assert volumes == {}
    assert doubt.endswith("and name that in volumes")


def test_the_files_of_one_directory_have_those_below_it_too(tmp_path: Path) -> None:
    volumes, (doubt,) = convert_files([SpinFiles(pattern="a/*")], tmp_path)
    assert list(volumes) == ["/a"]
    assert doubt == "files: a/*: the volume /a has the directories below it, too"


def test_two_directories_in_one_place(tmp_path: Path) -> None:
    entries = [SpinFiles(source="a", destination="/"), SpinFiles(source="b", destination="/")]
    volumes, (doubt,) = convert_files(entries, tmp_path)
    assert volumes == {"/": {"path": "a", "read_only": True}}
    assert doubt == "files: b is left out, because / is a"
