"""The directories that a guest has open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wagi_gateway.sandbox.open_directories import OpenDirectories


@pytest.fixture
def directories(tmp_path: Path) -> Iterator[OpenDirectories]:
    (tmp_path / "a" / "b").mkdir(parents=True)
    opened = OpenDirectories([bytes(tmp_path)])
    yield opened
    opened.close()


def names(directories: OpenDirectories, descriptor: int) -> list[bytes]:
    listing = directories.listing(descriptor)
    found: list[bytes] = []
    while entry := listing.entry(len(found), lambda: None):
        found.append(entry.name)
    return found[2:]


def test_paths_are_relative_to_their_parents(directories: OpenDirectories) -> None:
    directories.add(3, b"a", 4)
    directories.add(4, b"b", 5)
    assert [names(directories, number) for number in (3, 4, 5)] == [[b"a"], [b"b"], []]


def test_a_descriptor_is_used_again(directories: OpenDirectories) -> None:
    directories.add(3, b"a", 4)
    assert names(directories, 4) == [b"b"]
    directories.add(3, b"a/b", 4)
    assert names(directories, 4) == []
    directories.renumber(3, 4)
    assert names(directories, 4) == [b"a"]
    with pytest.raises(FileNotFoundError, match="directory 3 is not known"):
        directories.listing(3)


@pytest.mark.parametrize(("parent", "path"), [(7, b"a"), (3, b"a/" * 2048)], ids=["parent", "long path"])
def test_a_path_that_is_not_known(directories: OpenDirectories, parent: int, path: bytes) -> None:
    directories.add(parent, path, 4)
    with pytest.raises(FileNotFoundError, match="directory 4 is not known"):
        directories.listing(4)


def test_listings_are_bounded(directories: OpenDirectories) -> None:
    for number in range(4, 40):
        directories.add(3, b"a", number)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number in range(4, 40):
            assert names(directories, number) == [b"b"]
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * 4
    directories.close()
    assert len(os.listdir("/proc/self/fd")) == before
