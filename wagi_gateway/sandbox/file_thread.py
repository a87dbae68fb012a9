"""The threads on which wasmtime reads and writes files: one of them is kept alive.

wasmtime starts them as they are needed, and ends those that are idle for ten seconds. It panics where the system
refuses the first one (RLIMIT_NPROC, a control group's bound on tasks), and the panic ends the process. While one is
alive, files wait for that one. Source: tokio, `runtime::blocking::pool`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

import wasmtime

_INTERVAL = 3.0
"""Seconds between two uses of the thread."""
_IDLE = 8.0
"""Seconds after which an unused thread may have ended."""
_STAT = """(module
 (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 0) ".")
 (func (export "stat") (result i32)
  (call $stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64))))"""


class FileThread:
    """A thread of wasmtime's that stays alive from its first use on. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stat: Callable[[], object] | None = None
        self._used = float("-inf")
        """The last use on the monotonic clock, in seconds."""

    def keep(self) -> bool:
        """Uses the thread now and then. Returns whether there is one: False where the system has no thread left."""
        if time.monotonic() - self._used < _INTERVAL:
            return True
        with self._lock:
            if time.monotonic() - self._used > _IDLE and not _can_start_thread():
                return False
            self._used = time.monotonic()
            with suppress(wasmtime.WasmtimeError):  # no descriptor is left
                self._use()
        return True

    def keep_if_used(self) -> None:
        """Uses the thread now and then, once it was used."""
        if self._used > 0:
            self.keep()

    def _use(self) -> None:
        self._stat = self._stat or _create_stat()
        self._stat()


def _create_stat() -> Callable[[], object]:
    """A function that uses wasmtime's thread. Raises WasmtimeError."""
    config = wasmtime.Config()
    config.parallel_compilation = False
    config.memory_reservation = config.memory_guard_size = config.memory_reservation_for_growth = 0
    engine = wasmtime.Engine(config)
    store, wasi, linker = wasmtime.Store(engine), wasmtime.WasiConfig(), wasmtime.Linker(engine)
    wasi.preopen_dir("/", "/")
    store.set_wasi(wasi)
    linker.define_wasi()
    exports = linker.instantiate(store, wasmtime.Module(engine, _STAT)).exports(store)
    return partial(cast("wasmtime.Func", exports["stat"]), store)


def _can_start_thread() -> bool:
    thread = threading.Thread(target=lambda: None, name="probe")
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True
