"""The limits of a Pod's files: `sizeLimit` and `ephemeral-storage`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.pods import a_pod
from wagi_gateway.node.api import Object
from wagi_gateway.node.pods import storage_limits as module
from wagi_gateway.node.pods.folder import PodFolder
from wagi_gateway.node.pods.storage_limits import excess, size_of


@pytest.fixture
def folder(tmp_path: Path) -> PodFolder:
    """A Pod with about 10,000 bytes in the volume `data` and 2,000 in its logs."""
    folder = PodFolder(tmp_path)
    folder.make()
    for path, size in ((folder.volumes / "data/d/x", 10_000), (folder.log("hello", 0), 2000)):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
    (folder.volumes / "data/link").symlink_to("/")
    return folder


def pod(size_limit: str | None = None, *limits: str) -> Object:
    data = {"name": "data", "emptyDir": {} if size_limit is None else {"sizeLimit": size_limit}}
    containers: list[dict[str, Any]] = [
        {"name": f"c{number}", "resources": {"limits": {"ephemeral-storage": limit}}}
        for number, limit in enumerate(limits)
    ]
    return a_pod(*containers, volumes=[data, {"name": "config", "configMap": {"name": "c"}}])


FULL = 'Usage of EmptyDir volume "data" exceeds the limit "9k".'
TOTAL = "Pod ephemeral local storage usage exceeds the total limit of containers"


@pytest.mark.parametrize(
    ("limited", "message"),
    [
        (pod(), None),
        (pod("1Mi"), None),
        (pod("0"), None),
        (pod("nonsense"), None),
        (pod("9k"), FULL),
        (pod("9k", "1Mi"), FULL),
        (pod("1Mi", "9k"), f"{TOTAL} 9000."),
        (pod(None, "5k", "5k"), f"{TOTAL} 10000."),
        (pod(None, "1M", "5k"), None),
        (pod(None, "1G"), None),
    ],
)
def test_what_is_too_large(folder: PodFolder, limited: Object, message: str | None) -> None:
    assert excess(limited, folder) == message


def test_logs_count_for_the_pod_alone(folder: PodFolder) -> None:
    used = size_of(folder.volumes / "data", 10**9)
    assert excess(pod(str(used + 100), str(used + 100)), folder) == f"{TOTAL} {used + 100}."


def test_a_removed_directory_is_empty(tmp_path: Path) -> None:
    assert size_of(tmp_path / "absent", 100) == 0


def test_the_count_is_bounded(folder: PodFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ENTRIES", 0)
    assert size_of(folder.volumes, 10**9) == 10**9 + 1


def test_what_is_nested_too_deeply_to_be_measured_is_too_large(folder: PodFolder) -> None:
    """A guest could hide files there: its paths have no length."""
    current = os.open(folder.volumes / "data", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1100):  # more than Python's recursion
        os.mkdir("xxxxxxxx", dir_fd=current)
        inner = os.open("xxxxxxxx", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)
    assert size_of(folder.volumes / "data", 10**9) == 10**9 + 1
    folder.remove()
    assert not folder.path.exists()
