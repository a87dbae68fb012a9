"""WASI preview 1 as a guest meets it: the gateway's functions, and wasmtime's own as the reference."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import wasmtime

from tests.support import guests
from tests.support.sandbox import compiler, define, invocation
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.context import ExecutionContext, current

MODULE = "wasi_snapshot_preview1"
PAGE = 65536
"""Bytes of the memory of a WasiCaller."""
SIGNATURES = {
    **dict.fromkeys(("args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get"), "ii"),
    "clock_time_get": "iIi",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    **dict.fromkeys(("fd_close", "fd_datasync", "fd_sync", "proc_exit", "proc_raise"), "i"),
    **dict.fromkeys(("fd_fdstat_get", "fd_fdstat_set_flags", "fd_filestat_get", "fd_prestat_get"), "ii"),
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    **dict.fromkeys(("fd_pread", "fd_pwrite"), "iiiIi"),
    "fd_prestat_dir_name": "iii",
    **dict.fromkeys(("fd_read", "fd_write", "poll_oneoff"), "iiii"),
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_tell": "ii",
    **dict.fromkeys(("path_create_directory", "path_remove_directory", "path_unlink_file", "sock_accept"), "iii"),
    **dict.fromkeys(("path_filestat_get", "path_symlink", "sock_send"), "iiiii"),
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    **dict.fromkeys(("path_readlink", "path_rename", "sock_recv"), "iiiiii"),
    "random_get": "ii",
    "sched_yield": "",
    "sock_shutdown": "ii",
}
"""All functions of WASI preview 1 with the types of their parameters: `i` for an i32, `I` for an i64."""

_TYPES = {"i": "i32", "I": "i64"}


def module() -> str:
    """A module that exports memory, and each function of WASI preview 1 that returns an error number."""
    imports, exports = [], []
    for name, parameters in SIGNATURES.items():
        if name in ("proc_exit", "proc_raise"):
            continue
        kinds = f"(param {' '.join(_TYPES[kind] for kind in parameters)}) (result i32)"
        arguments = " ".join(f"(local.get {index})" for index in range(len(parameters)))
        imports.append(f'(import "{MODULE}" "{name}" (func ${name} {kinds}))')
        exports.append(f'(func (export "{name}") {kinds} (call ${name} {arguments}))')
    return f'(module {" ".join(imports)} (memory (export "memory") 1) {" ".join(exports)})'


@functools.cache
def _instance_pre(compiler: Compiler, *, is_gateways: bool) -> wasmtime.InstancePre:
    linker = wasmtime.Linker(compiler.engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    if is_gateways:
        define(linker, has_files=False)
    return linker.instantiate_pre(wasmtime.Module(compiler.engine, module()))


class WasiCaller:
    """Calls functions of WASI from a guest with one page of memory."""

    def __init__(self, store: wasmtime.Store, context: ExecutionContext | None) -> None:
        """`context` is the guest's, for the gateway's functions; without a context they are wasmtime's own."""
        self._store = store
        instance = _instance_pre(compiler(), is_gateways=context is not None).instantiate(store)
        self._exports = instance.exports(store)
        self._context = context
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory

    def call(self, name: str, *arguments: int) -> int | str:
        """Returns the error number, or the message of a trap."""
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        current.context = self._context
        try:
            result = function(self._store, *arguments)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            return f"trap: {error}"
        finally:
            current.context = None
        assert isinstance(result, int)
        return result

    def read(self, start: int, size: int) -> bytes:
        """Reads from the guest's memory."""
        return bytes(self._memory.read(self._store, start, start + size))

    def write(self, start: int, data: bytes) -> None:
        """Writes to the guest's memory."""
        self._memory.write(self._store, data, start)


@contextmanager
def gateways(stdin: bytes | int = b"", **limits: float) -> Iterator[tuple[WasiCaller, ExecutionContext]]:
    """The gateway's functions, for a guest without volumes."""
    context = ExecutionContext(replace(invocation(guests.HELLO, stdin=stdin), limits=Limits.model_validate(limits)))
    context.begin()
    with wasmtime.Store(compiler().engine) as store, wasmtime.WasiConfig() as config:
        store.set_epoch_deadline(10**9)
        store.set_wasi(config)
        yield WasiCaller(store, context), context
        context.end()


@contextmanager
def wasmtimes(directory: Path, stdin: bytes = b"") -> Iterator[WasiCaller]:
    """wasmtime's own functions; standard output and standard error are the files `1` and `2` in a directory."""
    (directory / "0").write_bytes(stdin)
    with wasmtime.Store(compiler().engine) as store, wasmtime.WasiConfig() as config:
        store.set_epoch_deadline(10**9)
        config.stdin_file, config.stdout_file, config.stderr_file = (str(directory / name) for name in "012")
        config.argv, config.env = ["/x"], [("A", "b")]
        store.set_wasi(config)
        yield WasiCaller(store, None)


EDGES = (0, 1, 2, 3, 4, 7, 8, 64, 99, 1024, 1025, 65528, 65532, 65533, 65535, 65536, 2**24, 2**31 - 1, -(2**31), -8, -1)
"""Numbers at which an address, a size, a count or a descriptor changes its meaning in a memory of one page."""


def edge_arguments(name: str, chance: random.Random) -> list[int]:
    """Arguments of a function of WASI."""
    wide = (*EDGES, 2**32, 2**63 - 1, -(2**63))
    return [chance.choice(wide if kind == "I" else EDGES) for kind in SIGNATURES[name]]
