"""A bare loop over the C API calls of one guest: the lower bound of a sandbox's cost.

Engine, module, limits, environment and calls are those of the gateway. The gateway's work between the calls is left
out: streams, deadlines, errors, outcomes.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from ctypes import byref, c_bool, c_char_p, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, cast

import wasmtime
from wasmtime import _bindings

from wagi_gateway.compiler.warm_module import WarmModule
from wagi_gateway.site.site import Site

from ..harness.errors import Failed
from .host import BareHost
from .request import prepare

KINDS = ("store", "instantiate", "call", "delete")
_P = c_void_p
_library = _bindings.dll._name  # type: ignore[attr-defined]
_keep_gil, _release_gil = ctypes.PyDLL(_library), ctypes.CDLL(_library)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


_config_new = _bind(_keep_gil, "wasi_config_new", _P)
_store_new = _bind(_keep_gil, "wasmtime_store_new", _P, _P, _P, _P)
_store_context = _bind(_keep_gil, "wasmtime_store_context", _P, _P)
_store_limiter = _bind(_keep_gil, "wasmtime_store_limiter", None, _P, *[c_int64] * 5)
_store_delete = _bind(_keep_gil, "wasmtime_store_delete", None, _P)
_set_wasi = _bind(_keep_gil, "wasmtime_context_set_wasi", _P, _P, _P)
_set_deadline = _bind(_keep_gil, "wasmtime_context_set_epoch_deadline", None, _P, c_uint64)
_OnEpoch = ctypes.CFUNCTYPE(c_size_t, _P, _P, _P, _P)
_epoch_callback = _bind(_keep_gil, "wasmtime_store_epoch_deadline_callback", None, _P, _OnEpoch, _P, _P)
_instantiate = _bind(_release_gil, "wasmtime_instance_pre_instantiate", _P, _P, _P, _P, _P)
_export_get = _bind(_keep_gil, "wasmtime_instance_export_get", c_bool, _P, _P, c_char_p, c_size_t, _P)
_memory_data = _bind(_keep_gil, "wasmtime_memory_data", _P, _P, _P)
_call = _bind(_release_gil, "wasmtime_func_call_unchecked", _P, _P, _P, _P, c_size_t, _P)


@_OnEpoch  # type: ignore[untyped-decorator]
def _on_epoch(*_: object) -> int:
    return 0


class BareCalls:
    """Runs the hello guest with the environment of a request."""

    def __init__(self, site: Site, *, is_inline: bool, has_host: bool = True) -> None:
        """A guest on the event loop's thread has no epoch callback. Without a host, WASI is wasmtime's own, the guest
        gets no arguments and no environment, and what it prints goes nowhere."""
        self._site = site  # a reference, because the engine is used by its address
        self._is_inline = is_inline
        self._error = _P()
        endpoint, argv, environ = prepare(site)
        limits = endpoint.limits
        linker = wasmtime.Linker(site.engine)
        linker.define_wasi()
        self._host = BareHost(argv, environ) if has_host else None
        if self._host:
            linker.allow_shadowing = True
            self._host.define(linker)
        self._engine, self._instance_pre = (
            site.engine.ptr(),
            linker.instantiate_pre(cast("WarmModule", endpoint.module).module),
        )
        self._limits = (limits.memory, limits.table_elements, 1, limits.tables, limits.memories)
        self._instance, self._trap = _bindings.wasmtime_instance_t(), _P()
        self._extern = _bindings.wasmtime_extern_t()

    def run(self, count: int) -> float:
        """Microseconds of processor time per guest."""
        begin = time.process_time()
        for _ in range(count):
            store, context = self._open()
            self._start(context)
            self._finish(context)
            _store_delete(store)
        return (time.process_time() - begin) / count * 1e6

    def run_by_kind(self, count: int) -> list[float]:
        """Microseconds per guest for each of KINDS, less the cost of reading the clock."""
        now, sums = time.process_time, [0.0] * len(KINDS)
        for _ in range(count):
            times = [now()]
            store, context = self._open()
            times.append(now())
            self._start(context)
            times.append(now())
            self._finish(context)
            times.append(now())
            _store_delete(store)
            times.append(now())
            for kind, (begin, end) in enumerate(itertools.pairwise(times)):
                sums[kind] += end - begin
        begin = now()
        for _ in range(count):
            now()
        clock = now() - begin
        return [(total - clock) / count * 1e6 for total in sums]

    def _open(self) -> tuple[int, int]:
        store: int = _store_new(self._engine, None, None)
        context: int = _store_context(store)
        _store_limiter(store, *self._limits)
        if not self._is_inline:
            _epoch_callback(store, _on_epoch, None, None)
        _set_deadline(context, 2 if self._is_inline else 1)
        _set_wasi(context, _config_new())
        return store, context

    def _start(self, context: int) -> None:
        trap = byref(self._trap)
        self._error.value = _instantiate(self._instance_pre.ptr(), context, byref(self._instance), trap)
        self._check()
        if self._host:
            _export_get(context, byref(self._instance), b"memory", 6, byref(self._extern))
            self._host.enter(_memory_data(context, byref(self._extern.of.memory)))

    def _finish(self, context: int) -> None:
        _export_get(context, byref(self._instance), b"_start", 6, byref(self._extern))
        self._error.value = _call(context, byref(self._extern.of.func), None, 0, byref(self._trap))
        self._check()

    def _check(self) -> None:
        if self._trap or self._error:
            raise Failed("the hello guest fails in the bare loop")
