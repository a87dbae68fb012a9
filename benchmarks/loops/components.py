"""The cost of components and core modules, one guest after the other on one thread of this process.

    python -m benchmarks.loops.components core.wasm component.wasm

For each file the least and the median of 300 guests in microseconds, each from a new store to its deletion: `calls`,
the C calls alone, for both kinds with wasmtime's own WASI, 34 variables and standard output to a pipe; `gateway`, what
the gateway does on the guest's thread, with its streams.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref
from pathlib import Path

import wasmtime
from wasmtime import _bindings

from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.component import WarmComponent
from wagi_gateway.compiler.engine import EngineSettings, create_engine
from wagi_gateway.compiler.warm_module import WarmModule
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox import component as backend
from wagi_gateway.sandbox import wasi_io
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext, current
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sandbox.pipes import PipePool
from wagi_gateway.sandbox.wasmtime_library import (
    check_epochs,
    config_new,
    context_of,
    set_wasi,
    store_delete,
    store_new,
)
from wagi_gateway.site.modules import _define_host
from wagi_gateway.sources.file import WasmSource

_COUNT = 300
_ENVIRON = {f"VARIABLE_{number}".encode(): b"v" * 20 for number in range(34)}
_SETTINGS = EngineSettings(slots=16, max_memory=256 * 2**20, memories=1, tables=4, table_elements=100_000)


def main() -> None:
    """Prints a line for each file."""
    for name in sys.argv[1:]:
        with _loaded(Path(name)) as (engine, invocation):
            calls, ours = _measure(_Calls(engine, invocation).run), asyncio.run(_gateway(engine, invocation))
        print(f"{name}: calls {_shown(calls)}, gateway {_shown(ours)}")


def raw(path: Path, rounds: int) -> list[float]:
    """Milliseconds of one guest of the gateway without a server, the median of each round."""
    with _loaded(path) as (engine, invocation):
        return [statistics.median(asyncio.run(_gateway(engine, invocation))) / 1e3 for _ in range(rounds)]


@contextmanager
def _loaded(path: Path) -> Iterator[tuple[wasmtime.Engine, Invocation]]:
    engine, warning = create_engine(_SETTINGS)
    compiler = Compiler(engine, _define_host)
    if warning:
        print(warning)
    data = path.read_bytes()
    warm = compiler.load(WasmSource(path.name, data, hashlib.sha256(data).hexdigest()))
    yield engine, Invocation(warm, b"_start", limits=Limits(), argv=[b"/x"], environ=_ENVIRON)
    compiler.close()


def _measure(run: Callable[[], object]) -> list[float]:
    """Microseconds of each run."""
    times = []
    for _ in range(_COUNT):
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e6)
    return times


def _shown(times: list[float]) -> str:
    return f"{min(times):.0f} ({statistics.median(times):.0f})"


async def _gateway(engine: wasmtime.Engine, invocation: Invocation) -> list[float]:
    """The gateway's own way, without its threads."""
    runs, loop = choose(), asyncio.get_running_loop()
    run = runs.run_component if isinstance(invocation.module, WarmComponent) else runs.run

    pipes = PipePool()

    def once() -> None:
        context = ExecutionContext(invocation)
        context.streams.attach(loop, context.wake, pipes)
        run(engine, context)
        context.streams.take_stdout()
        context.streams.detach()

    return _measure(once)


class _Calls:
    """The C calls for one guest."""

    def __init__(self, engine: wasmtime.Engine, invocation: Invocation) -> None:
        self._engine = engine
        self._module = invocation.module
        self._reader, self._writer = os.pipe()
        self._stdout = b"/proc/self/fd/%d" % self._writer
        self._linker = wasi_io.linker(engine).ptr()
        if isinstance(self._module, WarmModule):
            linker = wasmtime.Linker(engine)
            linker.define_wasi()
            self._pre = linker.instantiate_pre(self._module.module)
        context = ExecutionContext(invocation)  # for the epoch callback
        context.begin()
        current.context = context

    def run(self) -> None:
        """Runs the guest."""
        store = store_new(self._engine.ptr(), None, None)
        context = context_of(store)
        check_epochs(store, context)
        config = config_new()
        names, values = backend._strings([*_ENVIRON]), backend._strings([*_ENVIRON.values()])
        backend._set_env(config, len(_ENVIRON), names, values)
        backend._set_stdout_file(config, self._stdout)
        set_wasi(context, config)
        if isinstance(self._module, WarmComponent):
            self._run_component(context, self._module)
        else:
            self._run_module(context)
        store_delete(store)
        os.read(self._reader, 65536)

    def _run_component(self, context: int, component: WarmComponent) -> None:
        instance, function, result = backend._Instance(), backend._Func(), backend._Val()
        backend._instantiate(self._linker, context, component.component.ptr(), byref(instance))
        backend._get_func(byref(instance), context, component.run.ptr(), byref(function))
        backend._call(byref(function), context, None, 0, byref(result), 1)
        backend._val_delete(byref(result))

    def _run_module(self, context: int) -> None:
        from wagi_gateway.sandbox import capi

        instance, trap, extern = _bindings.wasmtime_instance_t(), ctypes.c_void_p(), capi._Extern()
        capi._instantiate(self._pre.ptr(), context, byref(instance), byref(trap))
        capi._export_get(context, byref(instance), b"_start", 6, byref(extern))
        capi._call(context, byref(extern, capi._EXTERN_OFFSET), None, 0, byref(trap))


if __name__ == "__main__":
    main()
