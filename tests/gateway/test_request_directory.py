"""The directory TMPDIR of one request: its size is bounded, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Server, running, wait_until
from tests.support.config import config, module
from tests.support.temporary_files import FILLS, FILLS_UNLINKED, LEAVES
from wagi_gateway.errors import AtCapacity
from wagi_gateway.gateway.request_directory import RequestDirectory, size_of
from wagi_gateway.site.temporary import remove_tree


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("requests")
    for name in ("site", "scratch"):
        (folder / name).mkdir()
    (folder / "site/index.php").touch()
    (folder / "leaves.wat").write_text(LEAVES)
    (folder / "fills.wat").write_text(FILLS)
    (folder / "unlinked.wat").write_text(FILLS_UNLINKED)
    text = config(
        module("/leaves/...", "leaves.wat", document_root="site"),
        module("/fills/...", "fills.wat", document_root="site", limits={"temporary": "1MiB"}),
        module("/unlinked/...", "unlinked.wat", document_root="site", limits={"temporary": "1MiB"}),
    )
    with running(folder, text, cache=cache, environment={"TMPDIR": str(folder / "scratch")}) as server:
        yield server


def is_empty(server: Server) -> bool:
    return not os.listdir(server.log_path.parent / "scratch")


def test_each_request_has_a_directory_of_its_own(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.get("/leaves/").text, range(12)))
    assert answers == ["made"] * 12
    wait_until(lambda: is_empty(server))


@pytest.mark.parametrize("name", ["fills", "unlinked"])
def test_a_guest_beyond_the_limit_is_stopped(server: Server, name: str) -> None:
    answer = server.get(f"/{name}/")
    assert answer.status_code == 502
    server.wait_for_log(rf"larger than limits\.temporary \(1048576 bytes\) route=/{name}/")
    wait_until(lambda: is_empty(server))


def test_the_size_counts_names_and_blocks_of_all_levels(tmp_path: Path) -> None:
    assert size_of(str(tmp_path), 10**9) == 0
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    assert 4 * 4096 + 100_000 <= size_of(str(tmp_path), 10**9) < 200_000
    assert size_of(str(tmp_path), 1) > 1
    assert size_of(str(tmp_path / "nothing"), 1) == 0


@pytest.mark.parametrize("levels", [17, 16])
def test_what_lies_deeper_than_a_path_is_long_is_beyond_every_limit(tmp_path: Path, levels: int) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(levels):
            os.mkdir("d" * 250, dir_fd=here)
            here, outer = os.open("d" * 250, os.O_RDONLY, dir_fd=here), here
            os.close(outer)
        os.close(os.open("f" * 250, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)
    try:
        assert size_of(str(tmp_path), 10**9) > 10**9
    finally:
        assert remove_tree(str(tmp_path)) is None


def test_a_directory_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))

    async def make() -> None:
        RequestDirectory(1)

    with pytest.raises(AtCapacity, match="no temporary directory"):
        asyncio.run(make())
