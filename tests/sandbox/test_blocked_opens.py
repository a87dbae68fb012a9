"""A guest that is blocked in opening a FIFO ends a little after its time."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.component_guests import PROBE, invocation
from tests.support.sandbox import compiler, run
from tests.support.wasi import MODULE
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation
from wagi_gateway.sources.file import WasmSource

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
OPENS_FOR_EVER = f"""(module
 (import "{MODULE}" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (import "{MODULE}" "fd_close" (func $close (param i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 64) "f")
 (func (export "_start") (loop
  (drop (call $open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0)
   (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
  (drop (call $close (i32.load (i32.const 8)))) (br 0))))"""


def opens_for_ever(kind: str, directory: Path) -> Invocation:
    """A core module or a component that opens the file `f` of a directory until its time is over."""
    if kind == "component":
        volume = GuestVolume(bytes(directory), b"/data", is_writable=True)
        return invocation(PROBE.read_bytes(), b"open for ever", volumes=(volume,), time=1.5)
    volume = GuestVolume(bytes(directory), b"/", is_writable=True)
    module = compiler().load(WasmSource("guest.wat", OPENS_FOR_EVER.encode(), OPENS_FOR_EVER), has_files=True)
    limits = Limits.model_validate({"time": 1.5})
    return Invocation(module, b"_start", limits=limits, argv=[], environ={}, volumes=(volume,))


@pytest.mark.parametrize("kind", ["module", "component"])
def test_a_fifo_in_the_place_of_a_file(tmp_path: Path, kind: str) -> None:
    """Another thread exchanges the two all the while."""
    is_over = threading.Event()
    (tmp_path / "f").touch()
    os.mkfifo(tmp_path / "fifo")

    def exchange() -> None:
        while not is_over.is_set():
            for name in ("fifo", "file"):
                with suppress(OSError):
                    os.rename(tmp_path / "f", tmp_path / "other")
                    os.rename(tmp_path / name, tmp_path / "f")
                    os.rename(tmp_path / "other", tmp_path / ("file" if name == "fifo" else "fifo"))

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        begin = time.monotonic()
        _, guest = run(opens_for_ever(kind, tmp_path))
        assert guest.stop_reason == "time"
        assert time.monotonic() - begin < 15
    finally:
        is_over.set()
        thread.join()
