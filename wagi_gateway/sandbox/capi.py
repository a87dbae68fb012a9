"""The hot path: one invocation as a dozen calls of wasmtime's C API.

wasmtime-py's classes cost several times what the guest does, so this module speaks to the library they are made of.
It is bound to one release's ABI; `pyproject.toml` pins it and `abi` knows of another one.

Calls that take microseconds keep the GIL (`PyDLL`), because handing it to and fro costs more; those that run guest code
release it (`CDLL`), so guests run in parallel on threads.
"""

from __future__ import annotations

import ctypes
import time
from array import array
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_uint64, c_void_p
from functools import lru_cache
from itertools import accumulate
from typing import Any, cast

import wasmtime
from wasmtime import _bindings

from ..cgi.environ import Environ
from .invocation import MOMENT_EPOCHS, End, Invocation, Outcome, current
from .pipes import descriptor_path

_QUICK = 0.001
"""Seconds."""

_Ended = tuple[End, int, str]

_P = c_void_p
_library = _bindings.dll._name  # type: ignore[attr-defined]
_keep_gil = ctypes.PyDLL(_library)
_release_gil = ctypes.CDLL(_library)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


def bind(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the C API that takes microseconds: called with the GIL kept."""
    return _bind(_keep_gil, name, result, *arguments)


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
_store_delete_quickly = _bind(_keep_gil, "wasmtime_store_delete", None, _P)
_set_wasi = _bind(_keep_gil, "wasmtime_context_set_wasi", _P, _P, _P)
_set_deadline = _bind(_keep_gil, "wasmtime_context_set_epoch_deadline", None, _P, c_uint64)

_instantiate = _bind(_release_gil, "wasmtime_instance_pre_instantiate", _P, _P, _P, _P, _P)
_export_get = _bind(_keep_gil, "wasmtime_instance_export_get", c_bool, _P, _P, c_char_p, c_size_t, _P)
_call = _bind(_release_gil, "wasmtime_func_call_unchecked", _P, _P, _P, _P, c_size_t, _P)

memory_size = _bind(_keep_gil, "wasmtime_memory_data_size", c_size_t, _P, _P)
EXTERN_MEMORY = 3

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
    """Called on the guest's thread at each tick it lives to see: goes on, or ends it with an error."""
    if current.invocation is None or current.invocation.must_stop():
        return int(_error_new(b"stopped by the gateway"))
    delta[0] = 1
    update[0] = _CONTINUE
    return 0


def run(engine: wasmtime.Engine, invocation: Invocation, stdout: bytes, stderr: bytes) -> Outcome:
    """Runs one guest to its end on this thread; `stdout` and `stderr` are paths of pipes. Never raises."""
    invocation.begin()
    if invocation.stop_reason is not None:
        return Outcome("stopped", message=invocation.stop_reason)
    current.invocation = invocation
    store = _store_new(engine.ptr(), None, None)
    context = _store_context(store)
    _limit(store, context, invocation)
    seconds = 0.0
    try:
        kind, code, message = _give_wasi(context, invocation, stdout, stderr) or _run(context, invocation)
        seconds = (time.monotonic_ns() - invocation.started_ns) / 1e9
    finally:  # a signal's handler may raise
        # A guest that was quick has touched little memory, so freeing it is too.
        (_store_delete_quickly if seconds < _QUICK else _store_delete)(store)
        current.invocation = None
        invocation.end()
    if invocation.stop_reason is not None and kind != "exit":
        kind, message = "stopped", invocation.stop_reason
    return Outcome(kind, code, message, seconds)


def _limit(store: int, context: int, invocation: Invocation) -> None:
    limits = invocation.limits
    _store_limiter(store, limits.memory, limits.table_elements, 1, limits.tables, limits.memories)
    if invocation.is_on_loop:
        # Without a callback an epoch is the end: the one after the next, because the next is no sign of a long life. In
        # a callback handlers of signals would run, whose exceptions nobody could take there.
        _set_deadline(context, MOMENT_EPOCHS)
    else:
        _epoch_callback(store, _on_epoch, None, None)
        _set_deadline(context, 1)


def _give_wasi(context: int, invocation: Invocation, stdout: bytes, stderr: bytes) -> _Ended | None:
    """Everything the guest is given; an end before the beginning where it cannot be had."""
    config = _config_new()
    failure = None
    if invocation.module.reads_arguments and not _give_arguments(config, invocation.argv):
        failure = "the arguments are not UTF-8"
    elif invocation.module.reads_environment and not _give_environment(config, invocation.environ):
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
    for host, guest, is_writable in invocation.volumes:
        if not _preopen_dir(config, host, guest, is_writable):
            failure = f"the volume {guest.decode()} cannot be opened"
    if failure:
        _config_delete(config)
    elif error := _set_wasi(context, config):
        failure = _take_error(error)
    return ("starved", 0, failure) if failure else None


def _give_arguments(config: int, argv: list[bytes]) -> bool:
    return bool(_set_argv(config, len(argv), _strings(len(argv))(*argv)))


def _give_environment(config: int, environ: Environ) -> bool:
    """Hands over the addresses of names and values; wasmtime copies what is there.

    Making a C string of each value costs more than wasmtime does, so they are laid out in one.
    """
    values = environ.values()
    block = b"\0".join(values)
    start = ctypes.cast(c_char_p(block), _P).value or 0
    addresses = array("Q", accumulate([len(value) + 1 for value in values], initial=start))
    return bool(_set_env(config, len(environ), _names(tuple(environ)), addresses.buffer_info()[0]))


@lru_cache(maxsize=128)
def _names(names: tuple[bytes, ...]) -> Any:
    """C strings of variable names, of which there are the same from request to request."""
    return _strings(len(names))(*names)


@lru_cache(maxsize=128)
def _strings(count: int) -> Any:
    """The type of some C strings; ctypes would forget it, and leave it to the garbage collector."""
    return c_char_p * count


def _run(context: int, invocation: Invocation) -> _Ended:
    instance, trap = _bindings.wasmtime_instance_t(), _P()
    error = _instantiate(invocation.module.instance_pre.ptr(), context, byref(instance), byref(trap))
    if ended := _ended(error, trap):
        return ended
    extern = _bindings.wasmtime_extern_t()
    for name in invocation.entrypoints:
        if not _export_get(context, byref(instance), name, len(name), byref(extern)):
            return "failed", 0, f"there is no export {name.decode()}"
        error = _call(context, byref(extern.of.func), None, 0, byref(trap))
        if ended := _ended(error, trap):
            if ended[:2] != ("exit", 0):
                _note_memory(context, instance, invocation)
            return ended
    return "exit", 0, ""


def _note_memory(context: int, instance: Any, invocation: Invocation) -> None:
    extern = _bindings.wasmtime_extern_t()
    if _export_get(context, byref(instance), b"memory", 6, byref(extern)) and cast(int, extern.kind) == EXTERN_MEMORY:
        invocation.note_memory(memory_size(context, byref(extern.of.memory)))


def _ended(error: int | None, trap: c_void_p) -> _Ended | None:
    if trap:
        message = _bindings.wasm_byte_vec_t()
        _trap_message(trap, byref(message))
        _trap_delete(trap)
        return "trap", 0, _take_text(message)
    if error:
        status = c_int()
        if _error_exit_status(error, byref(status)):
            _error_delete(error)
            return "exit", status.value, ""
        return "failed", 0, _take_error(error)
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
