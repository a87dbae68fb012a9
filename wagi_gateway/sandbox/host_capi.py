"""Host functions on the hot path.

wasmtime-py's own way makes objects of the caller, each argument and each access to memory, and costs more than a call
does; like `capi`, this speaks to the library underneath.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_bool, c_char_p, c_size_t, c_uint32, c_void_p
from typing import Any, cast

import wasmtime
from wasmtime import _bindings

from .capi import EXTERN_MEMORY, bind, memory_size
from .host import HostFunction, Memory, call

_WORDS = 4
"""32-bit words of a value as wasmtime passes it; an i32 is the first."""

_export_get = bind("wasmtime_caller_export_get", c_bool, c_void_p, c_char_p, c_size_t, c_void_p)
_context = bind("wasmtime_caller_context", c_void_p, c_void_p)
_data = bind("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
_define = bind(
    "wasmtime_linker_define_func_unchecked",
    c_void_p,
    *(c_void_p, c_char_p, c_size_t, c_char_p, c_size_t),
    *(c_void_p, _bindings.wasmtime_func_unchecked_callback_t, c_void_p, c_void_p),
)


class _Memory(Memory):
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


def define(
    linker: wasmtime.Linker, module: str, name: str, parameters: int, function: HostFunction, failed: int
) -> None:
    """What `host.define` does."""
    i32 = wasmtime.ValType.i32()
    function_type = wasmtime.FuncType([i32] * parameters, [i32])
    names = (module.encode(), len(module), name.encode(), len(name))
    error = _define(linker.ptr(), *names, function_type.ptr(), _callback(function, parameters, failed), None, None)
    if error:
        raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, POINTER(_bindings.wasmtime_error_t)))


@functools.cache  # kept, because linkers know its address
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
    if not _export_get(caller, b"memory", 6, byref(extern)) or cast(int, extern.kind) != EXTERN_MEMORY:
        return None
    context, memory = _context(caller), byref(extern.of.memory)
    return _Memory(_data(context, memory), memory_size(context, memory))
