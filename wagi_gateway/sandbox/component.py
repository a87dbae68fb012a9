"""The backend for components, on wasmtime's C API: a guest is some twenty calls.

wasmtime provides WASI 0.2 itself, over pipes (`sandbox.piped_streams`), but for the functions that `wasi_io` replaces.
Never used: the C API's functions with `async` in their names, which end the process at the first sleep, and its
`wasi:http`, which knows no list of allowed hosts.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t
from typing import Any, cast

import wasmtime
from wasmtime import _bindings

from ..compiler.component import WarmComponent
from . import backtrace
from .context import ExecutionContext, current
from .invocation import End, Outcome
from .piped_streams import PipedStreams
from .wasi_io import enter
from .wasmtime_library import (
    P,
    bind,
    check_epochs,
    config_delete,
    config_new,
    context_of,
    error_delete,
    keep_gil,
    preopen,
    release_gil,
    set_wasi,
    store_delete,
    store_new,
    take_error,
)

_set_argv = bind(keep_gil, "wasi_config_set_argv", c_bool, P, c_size_t, P)
_set_env = bind(keep_gil, "wasi_config_set_env", c_bool, P, c_size_t, P, P)
_set_stdin_bytes = bind(keep_gil, "wasi_config_set_stdin_bytes", None, P, P)
_set_stdin_file = bind(keep_gil, "wasi_config_set_stdin_file", c_bool, P, c_char_p)
_set_stdout_file = bind(keep_gil, "wasi_config_set_stdout_file", c_bool, P, c_char_p)
_set_stderr_file = bind(keep_gil, "wasi_config_set_stderr_file", c_bool, P, c_char_p)
_byte_vec_new = bind(keep_gil, "wasm_byte_vec_new", None, P, c_size_t, c_char_p)
_ByteVec: Any = _bindings.wasm_byte_vec_t

_instantiate = bind(release_gil, "wasmtime_component_linker_instantiate", P, P, P, P, P)
_get_func = bind(keep_gil, "wasmtime_component_instance_get_func", c_bool, P, P, P, P)
_call = bind(release_gil, "wasmtime_component_func_call", P, P, P, P, c_size_t, P, c_size_t)
_post_return = bind(keep_gil, "wasmtime_component_func_post_return", P, P, P)
_func_type = bind(keep_gil, "wasmtime_component_func_type", P, P, P)
_func_type_delete = bind(keep_gil, "wasmtime_component_func_type_delete", None, P)
_param_count = bind(keep_gil, "wasmtime_component_func_type_param_count", c_size_t, P)
_result_type = bind(keep_gil, "wasmtime_component_func_type_result", c_bool, P, P)
_valtype_delete = bind(keep_gil, "wasmtime_component_valtype_delete", None, P)
_val_delete = bind(keep_gil, "wasmtime_component_val_delete", None, P)
_exit_status = bind(keep_gil, "wasmtime_error_exit_status", c_bool, P, P)
_Instance: Any = _bindings.wasmtime_component_instance_t
_Func: Any = _bindings.wasmtime_component_func_t
_Val: Any = _bindings.wasmtime_component_val_t
_ValType: Any = _bindings.wasmtime_component_valtype_t
_RESULT = 19
"""The kind of a `result` value (wasmtime/component/val.h)."""
_RESULT_TYPE = 19
"""The kind of a `result` type (wasmtime/component/types/val.h)."""
_TRAP = "wasm trap: "
_PATH = b"/proc/self/fd/%d"


def run(engine: wasmtime.Engine, context: ExecutionContext) -> Outcome:
    """Runs a guest to its end on this thread. Never raises."""
    streams = cast("PipedStreams", context.streams)
    context.begin()
    if context.stop_reason is not None:
        return Outcome("stopped", message=context.stop_reason)
    current.context = context
    store = store_new(engine.ptr(), None, None)
    seconds = 0.0
    try:
        ended = _run(engine, store, context, streams)
        seconds = (time.monotonic_ns() - context.started_ns) / 1e9
    finally:
        store_delete(store)
        current.context = None
        context.end()
    if context.stop_reason is not None and ended.kind != "exit":
        return Outcome("stopped", ended.code, context.stop_reason, seconds, frames=ended.frames)
    return Outcome(ended.kind, ended.code, ended.message, seconds, frames=ended.frames)


def _run(engine: wasmtime.Engine, store: int, context: ExecutionContext, streams: PipedStreams) -> Outcome:
    """Instantiates the component and calls its `run`."""
    invocation = context.invocation
    component = cast("WarmComponent", invocation.module)
    linker = enter(engine, store, invocation.limits, bridges=component.bridges)
    store_context = context_of(store)
    check_epochs(store, store_context)
    if failure := _configure_wasi(store_context, context, streams):
        return Outcome("starved", 0, failure)
    instance, function = _Instance(), _Func()
    if error := _instantiate(linker, store_context, component.component.ptr(), byref(instance)):
        return _ended(error)
    if measurement := invocation.measurement:
        measurement.instantiated_ns = time.monotonic_ns()
    if not _get_func(byref(instance), store_context, component.run.ptr(), byref(function)):
        return Outcome("failed", 0, "there is no function run in wasi:cli/run")
    if not invocation.entrypoint:
        return _check_type(store_context, function)
    result = _Val()
    if error := _call(byref(function), store_context, None, 0, byref(result), 1):
        return _ended(error)
    has_succeeded = result.kind == _RESULT and result.of.result.is_ok
    _val_delete(byref(result))
    return Outcome("exit", 0 if has_succeeded else 1)


def _check_type(store_context: int, function: Any) -> Outcome:
    """Fails unless the function is `run: func() -> result`."""
    function_type, result = _func_type(byref(function), store_context), _ValType()
    has_result = _result_type(function_type, byref(result))
    is_run = _param_count(function_type) == 0 and has_result and result.kind == _RESULT_TYPE
    if has_result:
        _valtype_delete(byref(result))
    _func_type_delete(function_type)
    return Outcome("exit") if is_run else Outcome("failed", 0, "wasi:cli/run has a run of another type than WASI's")


def _configure_wasi(store_context: int, context: ExecutionContext, streams: PipedStreams) -> str | None:
    """Gives the guest its WASI; returns why that fails, if it does."""
    invocation = context.invocation
    config = config_new()
    environ = invocation.environ() if callable(invocation.environ) else invocation.environ
    _set_argv(config, len(invocation.argv), _strings(invocation.argv))
    _set_env(config, len(environ), _names(tuple(environ)), _strings([*environ.values()]))
    stdin = invocation.stdin
    is_given = True
    if isinstance(stdin, int):
        is_given = _set_stdin_file(config, _PATH % stdin)
    elif stdin:
        vector = _ByteVec()
        _byte_vec_new(byref(vector), len(stdin), stdin)
        _set_stdin_bytes(config, byref(vector))
    is_given = is_given and streams.open_outputs(
        lambda stdout, stderr: _set_stdout_file(config, stdout) and _set_stderr_file(config, stderr)
    )
    failure = None if is_given else "the standard streams cannot be opened"
    failure = failure or preopen(config, invocation.volumes)
    if failure:
        config_delete(config)
    elif error := set_wasi(store_context, config):
        failure = take_error(error)
    return failure


def _strings(strings: Sequence[bytes]) -> ctypes.Array[c_char_p]:
    """The strings for a function that copies them, each up to its first NUL. WASI 0.2 has Unicode strings alone."""
    if not b"".join(strings).isascii():
        strings = [string.decode("utf-8", "replace").encode() for string in strings]
    array = _array(len(strings))()
    array[:] = cast("list[c_char_p | bytes | None]", strings)  # faster than to pass them to the constructor
    return array


_names = functools.lru_cache(maxsize=64)(_strings)
"""The names of variables, cached because most requests have the same. The cache holds the names of 64 requests."""


@functools.lru_cache(maxsize=1024)
def _array(size: int) -> type[ctypes.Array[c_char_p]]:
    """The type of an array, cached because ctypes leaves a new type to garbage collection."""
    return c_char_p * size


def _ended(error: int) -> Outcome:
    code = c_int()
    if _exit_status(error, byref(code)):
        error_delete(error)
        return Outcome("exit", code.value)
    text = take_error(error)
    last_cause = text.rstrip().rpartition("\n")[2]
    kind: End = "trap" if last_cause.lstrip(" 0123456789:").startswith(_TRAP) else "failed"
    cause, frames = backtrace.parse(text)
    return Outcome(kind, 0, cause, frames=frames)
