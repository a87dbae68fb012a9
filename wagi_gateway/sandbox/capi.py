"""The backend on wasmtime's C API: a guest is a dozen calls, a host function one callback.

wasmtime-py's classes cost several times what a guest costs, so this module calls the C library directly. The module is
bound to one release's ABI: `pyproject.toml` pins that release, and `compiler.abi` detects another one.

Calls that take microseconds keep the GIL (`PyDLL`), because releasing and taking the GIL costs more; calls that run
guest code release the GIL (`CDLL`), so that guests run in parallel on threads.
"""

from __future__ import annotations

import ctypes
import functools
import time
from array import array
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from itertools import accumulate
from typing import Any, cast

import wasmtime
from wasmtime import _bindings

from ..cgi.environ import Environ
from .context import ExecutionContext, current
from .host import HostFunction, HostImport, Memory, call
from .inline import TIME_SLICE_EPOCHS
from .invocation import Invocation, Outcome
from .pipes import descriptor_path

_FAST = 0.001
"""Seconds of a guest that has touched so little memory that its store is deleted with the GIL kept."""
_WORDS = 4
"""32-bit words of a value in the C API; an i32 is the first."""


_P = c_void_p
_library = _bindings.dll._name  # type: ignore[attr-defined]
_keep_gil = ctypes.PyDLL(_library)
_release_gil = ctypes.CDLL(_library)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


_config_new = _bind(_keep_gil, "wasi_config_new", _P)
_config_delete = _bind(_keep_gil, "wasi_config_delete", None, _P)
_set_argv = _bind(_keep_gil, "wasi_config_set_argv", c_bool, _P, c_size_t, _P)
_set_env = _bind(_keep_gil, "wasi_config_set_env", c_bool, _P, c_size_t, _P, _P)
_set_stdin_bytes = _bind(_keep_gil, "wasi_config_set_stdin_bytes", None, _P, _P)
_set_stdin_file = _bind(_keep_gil, "wasi_config_set_stdin_file", c_bool, _P, c_char_p)
_set_stdout_file = _bind(_keep_gil, "wasi_config_set_stdout_file", c_bool, _P, c_char_p)
_set_stderr_file = _bind(_keep_gil, "wasi_config_set_stderr_file", c_bool, _P, c_char_p)
_preopen_dir = _bind(_keep_gil, "wasi_config_preopen_dir", c_bool, _P, c_char_p, c_char_p, c_bool)
_byte_vec_new = _bind(_keep_gil, "wasm_byte_vec_new", None, _P, c_size_t, c_char_p)
_byte_vec_delete = _bind(_keep_gil, "wasm_byte_vec_delete", None, _P)

_store_new = _bind(_keep_gil, "wasmtime_store_new", _P, _P, _P, _P)
_store_context = _bind(_keep_gil, "wasmtime_store_context", _P, _P)
_store_limiter = _bind(_keep_gil, "wasmtime_store_limiter", None, _P, c_int64, c_int64, c_int64, c_int64, c_int64)
_store_delete = _bind(_release_gil, "wasmtime_store_delete", None, _P)
_store_delete_keeping_gil = _bind(_keep_gil, "wasmtime_store_delete", None, _P)
_set_wasi = _bind(_keep_gil, "wasmtime_context_set_wasi", _P, _P, _P)
_set_deadline = _bind(_keep_gil, "wasmtime_context_set_epoch_deadline", None, _P, c_uint64)

_instantiate = _bind(_release_gil, "wasmtime_instance_pre_instantiate", _P, _P, _P, _P, _P)
_export_get = _bind(_keep_gil, "wasmtime_instance_export_get", c_bool, _P, _P, c_char_p, c_size_t, _P)
_call = _bind(_release_gil, "wasmtime_func_call_unchecked", _P, _P, _P, _P, c_size_t, _P)

_memory_size = _bind(_keep_gil, "wasmtime_memory_data_size", c_size_t, _P, _P)
_EXTERN_MEMORY = 3

_caller_export_get = _bind(_keep_gil, "wasmtime_caller_export_get", c_bool, _P, c_char_p, c_size_t, _P)
_caller_context = _bind(_keep_gil, "wasmtime_caller_context", _P, _P)
_memory_data = _bind(_keep_gil, "wasmtime_memory_data", _P, _P, _P)
_define_func = _bind(
    _keep_gil,
    "wasmtime_linker_define_func_unchecked",
    _P,
    *(_P, c_char_p, c_size_t, c_char_p, c_size_t),
    *(_P, _bindings.wasmtime_func_unchecked_callback_t, _P, _P),
)

_error_new = _bind(_keep_gil, "wasmtime_error_new", _P, c_char_p)
_error_message = _bind(_keep_gil, "wasmtime_error_message", None, _P, _P)
_error_exit_status = _bind(_keep_gil, "wasmtime_error_exit_status", c_bool, _P, _P)
_error_delete = _bind(_keep_gil, "wasmtime_error_delete", None, _P)
_trap_message = _bind(_keep_gil, "wasm_trap_message", None, _P, _P)
_trap_delete = _bind(_keep_gil, "wasm_trap_delete", None, _P)

_EpochCallback = ctypes.CFUNCTYPE(c_size_t, _P, _P, POINTER(c_uint64), POINTER(c_uint8))
_epoch_callback = _bind(_keep_gil, "wasmtime_store_epoch_deadline_callback", None, _P, _EpochCallback, _P, _P)
_CONTINUE = 0


@_EpochCallback  # type: ignore[untyped-decorator]
def _on_epoch(_context: int, _data: int, delta: Any, update: Any) -> int:
    """Called on the guest's thread at each epoch: lets the guest go on, or ends it with an error."""
    if current.context is None or current.context.must_stop():
        return int(_error_new(b"stopped by the gateway"))
    delta[0] = 1
    update[0] = _CONTINUE
    return 0


def run(engine: wasmtime.Engine, context: ExecutionContext, stdout: bytes, stderr: bytes) -> Outcome:
    """Runs a guest to its end on this thread; `stdout` and `stderr` are paths of pipes. Never raises."""
    context.begin()
    if context.stop_reason is not None:
        return Outcome("stopped", message=context.stop_reason)
    current.context = context
    invocation = context.invocation
    store = _store_new(engine.ptr(), None, None)
    store_context = _store_context(store)
    _limit(store, store_context, context)
    seconds = 0.0
    memory = 0
    try:
        ended = _configure_wasi(store_context, invocation, stdout, stderr)
        if ended is None:
            ended, memory = _run(store_context, invocation)
        seconds = (time.monotonic_ns() - context.started_ns) / 1e9
    finally:  # a signal's handler may raise
        (_store_delete_keeping_gil if seconds < _FAST else _store_delete)(store)
        current.context = None
        context.end()
    is_short = memory > invocation.limits.memory // 2
    if context.stop_reason is not None and ended.kind != "exit":
        return Outcome("stopped", ended.code, context.stop_reason, seconds, is_short)
    return Outcome(ended.kind, ended.code, ended.message, seconds, is_short)


def _limit(store: int, store_context: int, context: ExecutionContext) -> None:
    limits = context.invocation.limits
    _store_limiter(store, limits.memory, limits.table_elements, 1, limits.tables, limits.memories)
    if context.is_inline:
        # Without a callback an epoch ends the guest: the second one, because the first may come at once. In a callback
        # the handlers of signals would run, and an exception of theirs would be lost there.
        _set_deadline(store_context, TIME_SLICE_EPOCHS)
    else:
        _epoch_callback(store, _on_epoch, None, None)
        _set_deadline(store_context, 1)


def _configure_wasi(context: int, invocation: Invocation, stdout: bytes, stderr: bytes) -> Outcome | None:
    """Gives the guest its arguments, environment, streams and volumes; returns the guest's end where one fails."""
    config = _config_new()
    failure = None
    if invocation.module.reads_arguments and not _set_arguments(config, invocation.argv):
        failure = "the arguments are not UTF-8"
    elif invocation.module.reads_environment and not _set_environment(config, invocation.environ):
        failure = "the environment is not UTF-8"
    elif not (_set_stdout_file(config, stdout) and _set_stderr_file(config, stderr)):
        failure = "no descriptor is free for the guest's output"
    elif isinstance(invocation.stdin, int):
        if not _set_stdin_file(config, descriptor_path(invocation.stdin)):
            failure = "the spooled request body cannot be opened"
    elif invocation.stdin:
        body = _bindings.wasm_byte_vec_t()
        _byte_vec_new(byref(body), len(invocation.stdin), invocation.stdin)
        _set_stdin_bytes(config, byref(body))
    for volume in invocation.volumes:
        if not _preopen_dir(config, *volume):
            failure = f"the volume {volume.guest.decode()} cannot be opened"
    if failure:
        _config_delete(config)
    elif error := _set_wasi(context, config):
        failure = _take_error(error)
    return Outcome("starved", 0, failure) if failure else None


def _set_arguments(config: int, argv: list[bytes]) -> bool:
    return bool(_set_argv(config, len(argv), _strings(len(argv))(*argv)))


def _set_environment(config: int, environ: Environ) -> bool:
    """Passes arrays of the addresses of names and values; wasmtime copies the strings.

    Making a C string of each value costs more than wasmtime's copy, so all values are laid out in one block.
    """
    values = environ.values()
    block = b"\0".join(values)
    start = ctypes.cast(c_char_p(block), _P).value or 0
    addresses = array("Q", accumulate([len(value) + 1 for value in values], initial=start))
    return bool(_set_env(config, len(environ), _names(tuple(environ)), addresses.buffer_info()[0]))


@lru_cache(maxsize=128)
def _names(names: tuple[bytes, ...]) -> Any:
    """Returns C strings of variable names, cached because most requests have the same names."""
    return _strings(len(names))(*names)


@lru_cache(maxsize=128)
def _strings(count: int) -> Any:
    """Returns the type of an array of C strings, cached because ctypes leaves a new type to garbage collection."""
    return c_char_p * count


def _run(context: int, invocation: Invocation) -> tuple[Outcome, int]:
    """Instantiates the module and calls the entrypoints; returns the end, and the bytes of memory of a failed guest."""
    instance, trap = _bindings.wasmtime_instance_t(), _P()
    error = _instantiate(invocation.module.instance_pre.ptr(), context, byref(instance), byref(trap))
    if ended := _outcome(error, trap):
        return ended, 0
    extern = _bindings.wasmtime_extern_t()
    for name in invocation.entrypoints:
        if not _export_get(context, byref(instance), name, len(name), byref(extern)):
            return Outcome("failed", 0, f"there is no export {name.decode()}"), 0
        error = _call(context, byref(extern.of.func), None, 0, byref(trap))
        if ended := _outcome(error, trap):
            has_failed = ended.kind != "exit" or ended.code != 0
            return ended, _size_of_memory(context, instance) if has_failed else 0
    return _RETURNED


_RETURNED = Outcome("exit"), 0


def _size_of_memory(context: int, instance: Any) -> int:
    extern = _bindings.wasmtime_extern_t()
    if _export_get(context, byref(instance), b"memory", 6, byref(extern)) and cast(int, extern.kind) == _EXTERN_MEMORY:
        return int(_memory_size(context, byref(extern.of.memory)))
    return 0


def _outcome(error: int | None, trap: c_void_p) -> Outcome | None:
    if trap:
        message = _bindings.wasm_byte_vec_t()
        _trap_message(trap, byref(message))
        _trap_delete(trap)
        return Outcome("trap", 0, _take_text(message))
    if error:
        status = c_int()
        if _error_exit_status(error, byref(status)):
            _error_delete(error)
            return Outcome("exit", status.value)
        return Outcome("failed", 0, _take_error(error))
    return None


def _take_error(error: int) -> str:
    message = _bindings.wasm_byte_vec_t()
    _error_message(error, byref(message))
    _error_delete(error)
    return _take_text(message)


def _take_text(vector: Any) -> str:
    text = ctypes.string_at(vector.data, vector.size).rstrip(b"\0").decode("utf-8", "replace")
    _byte_vec_delete(byref(vector))
    return text


class _CapiMemory(Memory):
    __slots__ = ("_base",)

    def __init__(self, base: int, size: int) -> None:
        super().__init__(size)
        self._base = base

    def read(self, start: int, size: int) -> bytes:
        self.check(start, size)
        return ctypes.string_at(self._base + start, size)

    def write(self, start: int, data: bytes) -> None:
        self.check(start, len(data))
        ctypes.memmove(self._base + start, data, len(data))


def define(linker: wasmtime.Linker, host: HostImport) -> None:
    """Adds a host function to a linker, or replaces the function of that name."""
    i32 = wasmtime.ValType.i32()
    function_type = wasmtime.FuncType([i32] * host.parameters, [i32])
    names = (host.module.encode(), len(host.module), host.name.encode(), len(host.name))
    callback = _callback(host.function, host.parameters, host.failed)
    error = _define_func(linker.ptr(), *names, function_type.ptr(), callback, None, None)
    if error:
        raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, POINTER(_bindings.wasmtime_error_t)))


@functools.cache  # never freed, because linkers hold its address
def _callback(function: HostFunction, parameters: int, failed: int) -> Any:
    words = c_uint32 * (_WORDS * max(parameters, 1))

    @_bindings.wasmtime_func_unchecked_callback_t  # type: ignore[untyped-decorator]
    def callback(_env: int, caller: Any, values: Any, _count: int) -> int:
        raw = words.from_address(ctypes.addressof(values.contents))
        raw[0] = call(function, _memory, caller, raw[0 : _WORDS * parameters : _WORDS], failed)
        return 0

    return callback


def _memory(caller: Any) -> Memory | None:
    extern = _bindings.wasmtime_extern_t()
    if not _caller_export_get(caller, b"memory", 6, byref(extern)) or cast(int, extern.kind) != _EXTERN_MEMORY:
        return None
    context, memory = _caller_context(caller), byref(extern.of.memory)
    return _CapiMemory(_memory_data(context, memory), _memory_size(context, memory))
