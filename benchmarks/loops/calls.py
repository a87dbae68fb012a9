"""A bare loop over the C API calls of one guest: the lower bound of a sandbox's cost.

Engine, module, limits, environment and calls are those of the gateway. The gateway's work between the calls is left
out: deadlines, errors, outcomes.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import time
from array import array
from ctypes import byref, c_bool, c_char_p, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

from wasmtime import _bindings

from wagi_gateway.site.site import Site

from ..harness.errors import Failed
from .request import prepare

KINDS = ("argv and env", "store", "instantiate", "call", "delete")
_P = c_void_p
_library = _bindings.dll._name  # type: ignore[attr-defined]
_keep_gil, _release_gil = ctypes.PyDLL(_library), ctypes.CDLL(_library)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


_config_new = _bind(_keep_gil, "wasi_config_new", _P)
_set_argv = _bind(_keep_gil, "wasi_config_set_argv", c_bool, _P, c_size_t, _P)
_set_env = _bind(_keep_gil, "wasi_config_set_env", c_bool, _P, c_size_t, _P, _P)
_set_stdout = _bind(_keep_gil, "wasi_config_set_stdout_file", c_bool, _P, c_char_p)
_set_stderr = _bind(_keep_gil, "wasi_config_set_stderr_file", c_bool, _P, c_char_p)
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
_call = _bind(_release_gil, "wasmtime_func_call_unchecked", _P, _P, _P, _P, c_size_t, _P)


@_OnEpoch  # type: ignore[untyped-decorator]
def _on_epoch(*_: object) -> int:
    return 0


class BareCalls:
    """Runs the hello guest with the environment of a request."""

    def __init__(self, site: Site, reader: int, stdout: bytes, *, is_inline: bool, gives_strings: bool = True) -> None:
        """`stdout` is the path of the pipe whose read end is `reader`. A guest on the event loop's thread has no epoch
        callback. Without `gives_strings` the guest gets no arguments and no environment."""
        self._site = site  # a reference, because the engine is used by its address
        self._is_inline = is_inline
        self._gives_strings = gives_strings
        self._error = _P()
        endpoint, argv, environ = prepare(site)
        limits = endpoint.limits
        self._engine, self._instance_pre = site.engine.ptr(), endpoint.module.instance_pre.ptr()
        self._limits = (limits.memory, limits.table_elements, 1, limits.tables, limits.memories)
        self._argv, self._names = (c_char_p * 1)(*argv), (c_char_p * len(environ))(*environ)
        self._environ, self._count = environ, len(environ)
        self._reader, self._stdout = reader, stdout
        self._instance, self._trap = _bindings.wasmtime_instance_t(), _P()
        self._extern = _bindings.wasmtime_extern_t()

    def run(self, count: int) -> float:
        """Microseconds per guest."""
        begin = time.perf_counter()
        for _ in range(count):
            config = self._configure()
            store, context = self._open(config)
            self._start(context)
            self._finish(context)
            _store_delete(store)
            os.read(self._reader, 65536)
        return (time.perf_counter() - begin) / count * 1e6

    def run_by_kind(self, count: int) -> list[float]:
        """Microseconds per guest for each of KINDS, less the cost of reading the clock."""
        now, sums = time.perf_counter, [0.0] * len(KINDS)
        for _ in range(count):
            times = [now()]
            config = self._configure()
            times.append(now())
            store, context = self._open(config)
            times.append(now())
            self._start(context)
            times.append(now())
            self._finish(context)
            times.append(now())
            _store_delete(store)
            times.append(now())
            os.read(self._reader, 65536)
            for kind, (begin, end) in enumerate(itertools.pairwise(times)):
                sums[kind] += end - begin
        begin = now()
        for _ in range(count):
            now()
        clock = now() - begin
        return [(total - clock) / count * 1e6 for total in sums]

    def _configure(self) -> int:
        config: int = _config_new()
        if self._gives_strings:
            self._give_strings(config)
        _set_stdout(config, self._stdout)
        _set_stderr(config, self._stdout)
        return config

    def _give_strings(self, config: int) -> None:
        _set_argv(config, 1, self._argv)
        # One block for all values: a C string for each value costs more than the call.
        values = self._environ.values()
        block = b"\0".join(values)
        start = ctypes.cast(c_char_p(block), _P).value or 0
        addresses = array("Q", itertools.accumulate([len(value) + 1 for value in values], initial=start))
        _set_env(config, self._count, self._names, addresses.buffer_info()[0])

    def _open(self, config: int) -> tuple[int, int]:
        store: int = _store_new(self._engine, None, None)
        context: int = _store_context(store)
        _store_limiter(store, *self._limits)
        if not self._is_inline:
            _epoch_callback(store, _on_epoch, None, None)
        _set_deadline(context, 2 if self._is_inline else 1)
        _set_wasi(context, config)
        return store, context

    def _start(self, context: int) -> None:
        trap = byref(self._trap)
        self._error.value = _instantiate(self._instance_pre, context, byref(self._instance), trap)
        self._check()

    def _finish(self, context: int) -> None:
        _export_get(context, byref(self._instance), b"_start", 6, byref(self._extern))
        self._error.value = _call(context, byref(self._extern.of.func), None, 0, byref(self._trap))
        self._check()

    def _check(self) -> None:
        if self._trap or self._error:
            raise Failed("the hello guest fails in the bare loop")
