"""Files that a guest opens are reported with the path that the guest sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import compiler, invocation, run
from wagi_gateway.sandbox import errno
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.invocation import GuestVolume, Measurement, OpenedFile
from wagi_gateway.sandbox.path_opened import path_opened
from wagi_gateway.sources.file import WasmSource

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
READ, WRITE, READDIR = 1 << 1, 1 << 6, 1 << 14
CREATE, DIRECTORY = 1, 2
NOENT = 44
OPEN = """(drop (call $open (i32.const {parent}) (i32.const 1) (i32.const {start}) (i32.const {size})
 (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 64)))"""


def opens(start: int, size: int, *, flags: int = 0, rights: int = READ, parent: int = 3) -> str:
    return OPEN.format(start=start, size=size, flags=flags, rights=rights, parent=parent)


def reported(directory: Path, *calls: str) -> list[OpenedFile]:
    """What a guest with these calls opens in /data; its memory has the path `dir/f` at 128."""
    wat = f"""(module (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
     (memory (export "memory") 1) (data (i32.const 128) "dir/f") (func (export "_start") {" ".join(calls)}))"""
    given = invocation(guests.HELLO)
    given.module = compiler().load(WasmSource("guest.wat", wat.encode(), wat), has_files=True)
    given.volumes = (GuestVolume(bytes(directory), b"/data", is_writable=True),)
    found: list[OpenedFile] = []
    given.measurement = Measurement(found.append)
    assert run(given)[1].failure() is None
    return found


def test_files_and_directories_are_reported(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/f").touch()
    found = reported(
        tmp_path,
        opens(128, 5),
        opens(132, 1),
        opens(132, 1, flags=CREATE, rights=READ | WRITE),
        opens(128, 3, flags=DIRECTORY, rights=READDIR),
        opens(132, 1, parent=99),
    )
    assert [(one.path, one.is_written, one.error) for one in found] == [
        (b"/data/dir/f", False, 0),
        (b"/data/f", False, NOENT),
        (b"/data/f", True, 0),
        (b"/data/dir", False, 0),
        (b"f", False, errno.BADF),
    ]


def test_a_path_below_an_open_directory(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/f").touch()
    below = opens(132, 1).replace("(i32.const 3)", "(i32.load (i32.const 64))", 1)
    found = reported(tmp_path, opens(128, 3, flags=DIRECTORY, rights=READDIR), below)
    assert found[-1] == OpenedFile(b"/data/dir/f", is_written=False, error=0)


def test_a_path_that_is_too_long_is_cut_off(tmp_path: Path) -> None:
    [one] = reported(tmp_path, opens(128, 10_000))
    assert (len(one.path), one.error) == (len(b"/data/") + 4096, errno.NAMETOOLONG)


@pytest.mark.parametrize(
    ("memory", "expected"), [(None, errno.SUCCESS), (BytesMemory(16), errno.FAULT)], ids=["no-memory", "outside"]
)
def test_a_path_that_cannot_be_read(memory: BytesMemory | None, expected: int) -> None:
    given = invocation(guests.HELLO)
    given.measurement = Measurement(lambda _file: pytest.fail("reported"))
    context = ExecutionContext(given)
    context.memory = memory
    assert path_opened(context, 3, 8, 100, 0, 0) == expected
