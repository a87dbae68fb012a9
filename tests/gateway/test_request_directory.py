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
from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.errors import AtCapacity
from wagi_gateway.gateway.request_directory import RequestDirectory, size_of

_OPEN = """(import "wasi_snapshot_preview1" "path_open"
 (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (data (i32.const 700) "f") (global $count (mut i32) (i32.const 0))"""
# Descriptor 3 is the directory, before /app; O_CREAT with O_EXCL, and the right to write.
_CREATE = """(if (call $open (i32.const 3) (i32.const 0) (i32.const 700) (i32.const 1) (i32.const 5)
  (i64.const 0x40) (i64.const 0) (i32.const 0) (i32.const 8)) (then unreachable))
 (i32.store (i32.const 12) (i32.load (i32.const 8)))"""
_READ = """(import "wasi_snapshot_preview1" "fd_readdir"
 (func $read (param i32 i32 i32 i64 i32) (result i32)))"""
_LIST = """(if (call $read (i32.const 3) (i32.const 1024) (i32.const 512) (i64.const 0) (i32.const 8))
 (then unreachable))"""
LEAVES = guests.says(guests.CONTENT_TYPE + b"made", imports=_READ + _OPEN, then=_CREATE + _LIST)
"""A guest that leaves a file in its TMPDIR, and traps if the file is there already, or cannot list the directory."""
FILLS = guests.says(
    b"",
    imports=_OPEN,
    then=_CREATE,
    repeat="(call $write (i32.load (i32.const 12)) (i32.const 0) (i32.const 65536))",
)
"""A guest that writes to a file in its TMPDIR without an end."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("requests")
    for name in ("site", "scratch"):
        (folder / name).mkdir()
    (folder / "site/index.php").touch()
    (folder / "leaves.wat").write_text(LEAVES)
    (folder / "fills.wat").write_text(FILLS)
    text = config(
        module("/leaves/...", "leaves.wat", document_root="site"),
        module("/fills/...", "fills.wat", document_root="site", limits={"temporary": "1MiB"}),
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


def test_a_guest_beyond_the_limit_is_stopped(server: Server) -> None:
    answer = server.get("/fills/")
    assert answer.status_code == 502
    server.wait_for_log(r"larger than limits\.temporary \(1048576 bytes\)")
    wait_until(lambda: is_empty(server))


def test_the_size_counts_names_and_blocks_of_all_levels(tmp_path: Path) -> None:
    assert size_of(str(tmp_path), 10**9) == 0
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    assert 4 * 4096 + 100_000 <= size_of(str(tmp_path), 10**9) < 200_000
    assert size_of(str(tmp_path), 1) > 1
    assert size_of(str(tmp_path / "nothing"), 1) == 0


def test_a_directory_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))

    async def make() -> None:
        RequestDirectory(1)

    with pytest.raises(AtCapacity, match="no temporary directory"):
        asyncio.run(make())
