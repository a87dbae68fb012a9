"""The backend on wasmtime's C API: a guest is a dozen calls, a host function one callback.

wasmtime-py's classes cost several times what a guest costs, so this module calls the C library directly. The module is
bound to one release's ABI: `pyproject.toml` pins that release, and `compiler.abi` detects another one.

Calls that take microseconds keep the GIL (`PyDLL`), because releasing and taking the GIL costs more; calls that run
guest code release the GIL (`CDLL`), so that guests run in parallel on threads.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import threading
import time
from ctypes import POINTER, addressof, byref, c_bool, c_char, c_char_p, c_size_t, c_uint8, c_uint64, c_void_p
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import wasmtime
from wasmtime import _bindings

from ..compiler.externs import Import
from ..compiler.warm_module import WarmModule
from . import backtrace
from .adapter import adapter_globals, adapter_text
from .context import ExecutionContext, Unwind, current
from .host import HostFunction, HostImport, call, missing_trap, missing_type
from .inline import TIME_SLICE_EPOCHS
from .invocation import End, Invocation, Outcome, core_module
from .memory import Memory
from .proc_exit import exit_code
from .shim import shim_exports, shim_linker, shim_text, types_of
from .wasmtime_library import (
    WORD,
    P,
    bind,
    check_epochs,
    config_delete,
    config_new,
    context_of,
    keep_gil,
    preopen,
    release_gil,
    set_deadline,
    set_wasi,
    store_delete,
    store_limiter,
    store_new,
    take_error,
    take_text,
)

_FAST = 0.001
"""Seconds of a guest that has touched so little memory that its store is deleted with the GIL kept."""
_LAYOUT = {"i": "I12x", "I": "Q8x"}
"""A value in the C API for `struct`: an i32 or an i64 in 16 bytes."""
_pack_result = struct.Struct("I").pack_into
_Values = c_uint64 * 2
"""A value of the unchecked calls (`wasmtime_val_raw_t`)."""
_UNSIGNED = 0xFFFFFFFF
_MAX_MEMORY = 2**32
"""Bytes that the 32-bit addresses of host functions reach."""


_ADDRESS_SPACE = memoryview((c_char * (sys.maxsize >> 16)).from_address(0)).cast("B")
"""This process's memory by address: no object is made for the arguments and the result of a host call."""

_store_delete_keeping_gil = bind(keep_gil, "wasmtime_store_delete", None, P)

_instantiate = bind(release_gil, "wasmtime_instance_pre_instantiate", P, P, P, P, P)
_export_get = bind(keep_gil, "wasmtime_instance_export_get", c_bool, P, P, WORD, WORD, P)
_call = bind(release_gil, "wasmtime_func_call_unchecked", P, P, P, P, WORD, P)

_export_nth = bind(keep_gil, "wasmtime_instance_export_nth", c_bool, P, P, c_size_t, P, P, P)
_instance_new = bind(release_gil, "wasmtime_instance_new", P, P, P, P, c_size_t, P, P)
_global_set = bind(keep_gil, "wasmtime_global_set", P, P, P, P)
_Extern: Any = _bindings.wasmtime_extern_t
_EXTERN_SIZE = ctypes.sizeof(_Extern)
_EXTERN_OFFSET = _Extern.of.offset
"""Where the union of an extern begins."""

_memory_size = bind(keep_gil, "wasmtime_memory_data_size", c_size_t, P, P)
_EXTERN_MEMORY = 3


class _Results:
    """Where the C library writes its results on one thread, and the addresses of these places.

    Made once for a thread, which runs one guest at a time: to ctypes a new object, or a reference to one, costs a third
    of a call.
    """

    __slots__ = ("extern", "extern_at", "instance", "instance_at", "trap", "trap_at")

    def __init__(self) -> None:
        self.instance, self.trap, self.extern = _bindings.wasmtime_instance_t(), P(), _Extern()
        self.instance_at, self.trap_at = addressof(self.instance), addressof(self.trap)
        self.extern_at = addressof(self.extern)


class _Thread(threading.local):
    def __init__(self) -> None:
        self.results = _Results()


_thread = _Thread()

_caller_export_get = bind(keep_gil, "wasmtime_caller_export_get", c_bool, P, WORD, WORD, P)
_memory_data = bind(keep_gil, "wasmtime_memory_data", P, P, P)
_caller_context = bind(keep_gil, "wasmtime_caller_context", P, P)
_define_func = bind(
    keep_gil,
    "wasmtime_linker_define_func_unchecked",
    P,
    *(P, c_char_p, c_size_t, c_char_p, c_size_t),
    *(P, P, P, P),
)
_Callback = ctypes.CFUNCTYPE(P, P, P, P, c_size_t)

_trap_new_code = bind(keep_gil, "wasmtime_trap_new_code", P, c_uint8)
_TRAP_INTERRUPT = 10
"""The trap of an epoch. A trap with a message would come back as an error."""
_trap_message = bind(release_gil, "wasm_trap_message", None, P, P)
_trap_delete = bind(keep_gil, "wasm_trap_delete", None, P)


def run(engine: wasmtime.Engine, context: ExecutionContext) -> Outcome:
    """Runs a guest to its end on this thread. Never raises."""
    context.begin()
    if context.stop_reason is not None:
        return Outcome("stopped", message=context.stop_reason)
    current.context = context
    invocation = context.invocation
    store = store_new(engine.ptr(), None, None)
    store_context = context_of(store)
    _limit(store, store_context, context)
    seconds = 0.0
    memory = 0
    try:
        ended = _configure_wasi(store_context, invocation)
        if ended is None:
            ended, memory = _run(engine, store_context, context)
        seconds = (time.monotonic_ns() - context.started_ns) / 1e9
    finally:  # a signal's handler may raise
        (_store_delete_keeping_gil if seconds < _FAST else store_delete)(store)
        current.context = context.memory = None
        context.end()
    kind, code, message = ended[:3]
    is_short = (kind != "exit" or code != 0) and memory > invocation.limits.memory // 2
    if context.stop_reason is not None and kind != "exit":
        return Outcome("stopped", code, context.stop_reason, seconds, is_short, memory, ended.frames)
    return Outcome(kind, code, message, seconds, is_short, memory, ended.frames)


def _limit(store: int, store_context: int, context: ExecutionContext) -> None:
    limits = context.invocation.limits
    extra = 0 if core_module(context.invocation).instance_pre else 1
    instances, tables = 1 + 2 * extra, limits.tables + extra
    store_limiter(store, limits.memory, limits.table_elements, instances, tables, limits.memories)
    if context.is_inline:
        # Without a callback an epoch ends the guest: the second one, because the first may come at once. In a callback
        # the handlers of signals would run, and an exception of theirs would be lost there.
        set_deadline(store_context, TIME_SLICE_EPOCHS)
    else:
        check_epochs(store, store_context)


def _configure_wasi(context: int, invocation: Invocation) -> Outcome | None:
    """Gives the guest wasmtime's WASI, for clocks and volumes; returns the guest's end where a volume fails."""
    if not (core_module(invocation).needs_wasi or invocation.volumes):
        return None
    config = config_new()
    failure = preopen(config, invocation.volumes)
    if failure:
        config_delete(config)
    elif error := set_wasi(context, config):
        failure = take_error(error)
    return Outcome("starved", 0, failure) if failure else None


def _run(engine: wasmtime.Engine, store_context: int, context: ExecutionContext) -> tuple[Outcome, int]:
    """Instantiates the module and calls the entrypoints; returns the end, and the bytes of memory: 0 for a guest that
    has not failed, without a `measurement`."""
    invocation, results = context.invocation, _thread.results
    module, measurement = core_module(invocation), invocation.measurement
    instance_at, trap, trap_at = results.instance_at, results.trap, results.trap_at
    extern_at, function_at = results.extern_at, results.extern_at + _EXTERN_OFFSET
    trap.value = None
    if pre := module.instance_pre:
        error = _instantiate(pre.ptr(), store_context, instance_at, trap_at)
    else:
        error = _instantiate_with_files(engine, store_context, context, results.instance, trap)
    if error or trap:
        return _failure(context, error, trap), 0
    if measurement:
        measurement.instantiated_ns = time.monotonic_ns()
    code, codes = 0, module.functions_with_code
    for name in invocation.entrypoints:
        if not _export_get(store_context, instance_at, name, len(name), extern_at):
            return Outcome("failed", 0, f"there is no export {name.decode()}"), 0
        if name in codes:
            result = _Values()
            error = _call(store_context, function_at, result, 1, trap_at)
            code = exit_code(result[0] & _UNSIGNED)
        else:
            error = _call(store_context, function_at, None, 0, trap_at)
        if error or trap:
            ended = _failure(context, error, trap)
            is_measured = ended.kind != "exit" or ended.code != 0 or measurement
            return ended, _size_of_memory(store_context, instance_at) if is_measured else 0
    if measurement or code:
        return Outcome("exit", code), _size_of_memory(store_context, instance_at)
    return _RETURNED


def _instantiate_with_files(
    engine: wasmtime.Engine, store_context: int, context: ExecutionContext, guest: Any, trap: Any
) -> int | None:
    """Instantiates shim, guest and adapter; returns wasmtime's error, if one fails."""
    module = core_module(context.invocation)
    files = _files(engine, module)
    around = _reporting_adapter(engine) if context.invocation.measurement else files.adapter
    shim, adapter = _bindings.wasmtime_instance_t(), _bindings.wasmtime_instance_t()
    error: int | None = _instantiate(files.shim.ptr(), store_context, byref(shim), byref(trap))
    if error or trap:
        return error
    imports = _externs(len(module.import_names))()
    name, size = P(), c_size_t()
    for index, wanted in enumerate(module.import_names):
        number, target = files.exports[wanted], byref(imports, index * _EXTERN_SIZE)
        _export_nth(store_context, byref(shim), number, byref(name), byref(size), target)
    error = _instance_new(store_context, module.module.ptr(), imports, len(imports), byref(guest), byref(trap))
    if error or trap:
        return error
    imports = _externs(2)()
    _export_get(store_context, byref(guest), b"memory", 6, byref(imports))
    _export_get(store_context, byref(shim), b"table", 5, byref(imports, _EXTERN_SIZE))
    error = _instance_new(store_context, around.ptr(), imports, 2, byref(adapter), byref(trap))
    if error or trap:
        return error
    extern, value = _Extern(), _bindings.wasmtime_val_t()
    for global_name, number in adapter_globals(context).items():
        _export_get(store_context, byref(adapter), global_name, len(global_name), byref(extern))
        value.of.i32 = number
        if error := _global_set(store_context, byref(extern, _EXTERN_OFFSET), byref(value)):
            break
    return cast("int | None", error)


class _Files(NamedTuple):
    """The modules around a guest with files, for one engine."""

    shim: wasmtime.InstancePre
    exports: dict[tuple[str, str], int]
    """The numbers of the shim's exports."""
    adapter: wasmtime.Module


def _files(engine: wasmtime.Engine, module: WarmModule) -> _Files:
    key = module.module if module.missing else engine
    if key not in _files_of:
        _files_of[key] = _compile_files(engine, module.missing)
    return _files_of[key]


def _compile_files(engine: wasmtime.Engine, missing: tuple[Import, ...]) -> _Files:
    shim = wasmtime.Module(engine, shim_text(types_of(missing)))
    numbers = {export.name: number for number, export in enumerate(shim.exports)}
    exports = {wanted: numbers[name] for wanted, name in shim_exports(missing).items()}
    linker = shim_linker(engine, define, define_missing, missing)
    return _Files(linker.instantiate_pre(shim), exports, wasmtime.Module(engine, adapter_text()))


def _reporting_adapter(engine: wasmtime.Engine) -> wasmtime.Module:
    """The adapter that reports the files which a guest opens."""
    if engine not in _reporting_adapters:
        _reporting_adapters[engine] = wasmtime.Module(engine, adapter_text(reports_opens=True))
    return _reporting_adapters[engine]


_files_of: WeakKeyDictionary[wasmtime.Engine | wasmtime.Module, _Files] = WeakKeyDictionary()
"""By the engine, or by the guest's module where imports of it are missing."""
_reporting_adapters: WeakKeyDictionary[wasmtime.Engine, wasmtime.Module] = WeakKeyDictionary()


@functools.lru_cache(maxsize=128)
def _externs(count: int) -> Any:
    """The type of an array of externs, cached because ctypes leaves a new type to garbage collection."""
    return _Extern * count


_RETURNED = Outcome("exit"), 0


def _size_of_memory(context: int, instance_at: int) -> int:
    extern = _Extern()
    if not _export_get(context, instance_at, b"memory", 6, byref(extern)) or extern.kind != _EXTERN_MEMORY:
        return 0
    return int(_memory_size(context, byref(extern, _EXTERN_OFFSET)))


def _failure(context: ExecutionContext, error: int, trap: c_void_p) -> Outcome:
    """The end of a guest that did not return: by `trap` if that is set, else by `error`; an exit is either."""
    if trap:
        message = _bindings.wasm_byte_vec_t()
        _trap_message(trap, byref(message))
        _trap_delete(trap)
        kind: End = "trap"
        text = take_text(message)
    else:
        kind, text = "failed", take_error(error)
    if context.exit_code is not None:
        return Outcome("exit", context.exit_code)
    cause, frames = backtrace.parse(text)
    if context.missing_import:
        return Outcome("trap", 0, context.missing_import, frames=frames)
    return Outcome(kind, 0, cause, frames=frames)


@functools.lru_cache(maxsize=4096)
def _view(base: int) -> memoryview:
    """The address space of a memory. The memories of a pool lie at the same addresses in all its life."""
    return memoryview((c_char * _MAX_MEMORY).from_address(base)).cast("B")


class _CapiMemory(Memory):
    """A 32-bit memory, which does not move: the engine reserves 4 GiB for each."""

    __slots__ = ("_at", "_context", "_extern")

    def __init__(self, context: int, extern: Any) -> None:
        self._context = context
        self._extern = extern
        self._at = addressof(extern) + _EXTERN_OFFSET
        self.view = _view(_memory_data(context, self._at))
        self.size = min(_memory_size(context, self._at), _MAX_MEMORY)

    def refresh(self) -> None:
        self.size = min(_memory_size(self._context, self._at), _MAX_MEMORY)


def define(linker: wasmtime.Linker, host: HostImport) -> None:
    """Adds a host function to a linker, or replaces the function of that name."""
    types = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
    results = [wasmtime.ValType.i32()] if host.has_result else []
    function_type = wasmtime.FuncType([types[kind]() for kind in host.parameters], results)
    callback = _callback(host.function, host.parameters, host.failed)
    _define(linker, (host.module, host.name), function_type, callback)


def define_missing(linker: wasmtime.Linker, names: tuple[str, str], wanted: Import) -> None:
    """Adds a function that traps to a linker, for an import that the gateway does not provide."""
    _define(linker, names, missing_type(wanted), _missing_callback(missing_trap(wanted)))


def _define(linker: wasmtime.Linker, names: tuple[str, str], kind: wasmtime.FuncType, callback: Any) -> None:
    module, name = (text.encode() for text in names)
    error = _define_func(linker.ptr(), module, len(module), name, len(name), kind.ptr(), callback, None, None)
    if error:
        raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, POINTER(_bindings.wasmtime_error_t)))


@functools.cache  # as `_callback`
def _missing_callback(cause: str) -> Any:
    @_Callback  # type: ignore[untyped-decorator]
    def callback(_env: int, _caller: int, _values: int, _count: int) -> int:
        if current.context:
            current.context.missing_import = cause
        return int(_trap_new_code(_TRAP_INTERRUPT))

    return callback


@functools.cache  # never freed, because linkers hold its address
def _callback(function: HostFunction, parameters: str, failed: int) -> Any:
    arguments = struct.Struct("".join(_LAYOUT[kind] for kind in parameters)).unpack_from

    # The handlers of signals may run at the first instruction, before any `try`. If one raises, ctypes returns garbage.
    @_Callback  # type: ignore[untyped-decorator]
    def callback(_env: int, caller: int, values: int, _count: int) -> int:
        context = current.context
        if context is None:
            _pack_result(_ADDRESS_SPACE, values, failed)
            return 0
        if context.memory is None:
            context.memory = _memory(caller)
        try:
            result = call(context, function, arguments(_ADDRESS_SPACE, values), failed)
        except Unwind:
            return int(_trap_new_code(_TRAP_INTERRUPT))
        _pack_result(_ADDRESS_SPACE, values, result)
        return 0

    return callback


def _memory(caller: int) -> Memory | None:
    extern = _Extern()
    if not _caller_export_get(caller, b"memory", 6, addressof(extern)) or extern.kind != _EXTERN_MEMORY:
        return None
    return _CapiMemory(_caller_context(caller), extern)
