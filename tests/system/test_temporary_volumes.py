"""Temporary volumes of a server: whatever guests leave in them, they are gone after a reload and at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Server, running, wait_until
from tests.support import guests
from tests.support.config import guest, module

_FILES = """
 (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "path_open"
  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
 (global $directory (mut i32) (i32.const 3)) (global $count (mut i32) (i32.const 1000))"""


_NEST = """(loop $again
 (drop (call $mkdir (global.get $directory) (i32.const 700) (i32.const 1)))
 (drop (call $open (global.get $directory) (i32.const 0) (i32.const 700) (i32.const 1) (i32.const 2)
  (i64.const 0x2200) (i64.const 0x2200) (i32.const 0) (i32.const 8)))
 (if (i32.ne (global.get $directory) (i32.const 3)) (then (drop (call $close (global.get $directory)))))
 (global.set $directory (i32.load (i32.const 8)))
 (global.set $count (i32.sub (global.get $count) (i32.const 1)))
 (br_if $again (global.get $count)))"""
NESTS = guests.if_argument(_NEST, fields=f'{_FILES} (data (i32.const 700) "d")')
"""A guest that makes 1,000 nested directories when it has an argument, each by its descriptor."""


@contextmanager
def serving(tmp_path: Path, cache: Path, *options: str) -> Iterator[tuple[Server, Path]]:
    """A server with a guest in a temporary volume, and the directory of temporary directories."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    (tmp_path / "nests.wat").write_text(NESTS)
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    config = module("/nests", "nests.wat", volumes={"/": {"temporary": "a"}, "/b": {"temporary": "b"}})
    environment = {"TMPDIR": str(scratch)}
    with running(tmp_path, config, *options, cache=cache, environment=environment) as server:
        yield server, scratch


def depth(directory: Path) -> int:
    """How many directories are inside of each other."""
    levels, descriptor = 0, os.open(directory, os.O_RDONLY)
    while "d" in os.listdir(descriptor):
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor, levels = inner, levels + 1
    os.close(descriptor)
    return levels


def temporary(scratch: Path) -> list[Path]:
    """The volumes' directories."""
    return sorted(scratch.glob("wagi-gateway-*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_nested_directories_are_removed_at_the_end(tmp_path: Path, cache: Path, workers: int) -> None:
    with serving(tmp_path, cache, "--workers", str(workers)) as (server, scratch):
        assert server.get("/nests?go").status_code == 200
        assert sorted(map(depth, temporary(scratch))) == [0, 1000]
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert temporary(scratch) == []
        assert "Traceback" not in server.log


def test_a_reload_without_them_removes_them_and_frees_the_site(tmp_path: Path, cache: Path) -> None:
    with serving(tmp_path, cache) as (server, scratch):
        assert server.get("/nests?go").status_code == 200
        before = server.descriptors()
        (tmp_path / "modules.toml").write_text(guest("/hello", "hello"))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("reloaded: 1 route ")
        wait_until(lambda: temporary(scratch) == [] and server.descriptors() < before)
        assert server.get("/hello").status_code == 200
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_what_cannot_be_removed_is_logged_and_changes_nothing_else(tmp_path: Path, cache: Path) -> None:
    """One directory is not there any more, but a file of its name."""
    with serving(tmp_path, cache) as (server, scratch):
        replaced, other = temporary(scratch)
        replaced.rmdir()
        replaced.touch()
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert (replaced.exists(), other.exists()) == (True, False)
        lines = [line for line in server.log.splitlines() if str(replaced) in line]
        assert len(lines) == 1
        assert " WARNING the temporary directory " in lines[0]
