"""Components that call WASI 0.2 on the gateway's behalf: the host cannot call wasmtime's own functions.

A helper is an instance beside the guest, in the guest's store. It is made at the guest's first call of a function that
needs it, so that most guests have none.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import byref, c_bool, c_size_t
from typing import Any, cast
from weakref import WeakKeyDictionary

import wasmtime
from wasmtime import _bindings
from wasmtime.component import Component, ExportIndex, Linker

from ..compiler.engine import CORE_INSTANCES_PER_COMPONENT, CORE_INSTANCES_PER_HELPER, HELPERS, TABLES_PER_COMPONENT
from ..config.settings import Limits
from .wasmtime_library import P, bind, keep_gil, release_gil, store_limiter

VERSION = "0.2.12"
"""The version of WASI under which wasmtime's linker has its functions; the others of 0.2 are found there too."""
MEMORY = """
 (core module $Memory
  (memory (export "memory") 1)
  (global $end (mut i32) (i32.const 1024))
  (func (export "reset") (param i32) (global.set $end (i32.const 1024)))
  (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
   (local $new i32)
   (local.set $new (i32.and (i32.add (global.get $end) (i32.const 7)) (i32.const -8)))
   (global.set $end (i32.add (local.get $new) (local.get $size)))
   (if (i32.gt_u (global.get $end) (i32.const 65536)) (then unreachable))
   (memory.copy (local.get $new) (local.get $old) (local.get $old_size))
   (local.get $new)))
 (core instance $memory (instantiate $Memory))"""
"""The memory of a helper, 64 KiB, which is free again after each call."""
OPTIONS = '(memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))'
"""The options of a function that reads or writes that memory."""
RESET = '(post-return (core func $memory "reset"))'
"""The option of a function of the helper that frees that memory."""

_Instance: Any = _bindings.wasmtime_component_instance_t
_Func: Any = _bindings.wasmtime_component_func_t
_instantiate = bind(release_gil, "wasmtime_component_linker_instantiate", P, P, P, P, P)
_get_func = bind(keep_gil, "wasmtime_component_instance_get_func", c_bool, P, P, P, P)
_call = bind(release_gil, "wasmtime_component_func_call", P, P, P, P, c_size_t, P, c_size_t)
_post_return = bind(keep_gil, "wasmtime_component_func_post_return", P, P, P)


class _Running(threading.local):
    """What helpers need of the guest that runs on this thread."""

    engine: wasmtime.Engine
    store: int
    limits: Limits
    memories: int
    """The memories that the guest may have."""
    functions: dict[Helper, Any]
    """The functions of the helpers in the guest's store."""
    opened: int
    """Files and directories that the guest has opened."""


running = _Running()


def enter(engine: wasmtime.Engine, store: int, limits: Limits, memories: int) -> None:
    """Prepares for the next guest on this thread, and limits what may be created in its store; `memories` is the number
    of memories that the guest may have."""
    running.engine, running.store, running.limits, running.memories = engine, store, limits, memories
    running.functions, running.opened = {}, 0
    _limit(0)


def _limit(helpers: int) -> None:
    """Limits what is created in the store from now on, for the guest and some helpers."""
    limits = running.limits
    store_limiter(
        running.store,
        limits.memory,
        limits.table_elements,
        CORE_INSTANCES_PER_COMPONENT + helpers * CORE_INSTANCES_PER_HELPER,
        max(limits.tables, TABLES_PER_COMPONENT),
        running.memories + helpers,
    )


class Helper:
    """A component with one function. Compared by identity."""

    def __init__(self, text: str, function: str) -> None:
        self._text = text
        self._function = function
        self._compiled: WeakKeyDictionary[wasmtime.Engine, tuple[Linker, Component, ExportIndex]] = WeakKeyDictionary()

    def call(self, store: int, arguments: Any, count: int, result: int) -> int:
        """Calls the function in a store with the C API's arguments. Returns the address of an error, or 0."""
        function = running.functions.get(self)
        if function is None:
            instance, function = _Instance(), _Func()
            linker, component, index = self._compile(running.engine)
            if not running.functions:  # not before: the guest itself was created without the room for helpers
                _limit(HELPERS)
            if error := _instantiate(linker.ptr(), store, component.ptr(), byref(instance)):
                return cast("int", error)
            _get_func(byref(instance), store, index.ptr(), byref(function))
            running.functions[self] = function
        if error := _call(byref(function), store, arguments, count, result, 1):
            return cast("int", error)
        _post_return(byref(function), store)
        return 0

    def _compile(self, engine: wasmtime.Engine) -> tuple[Linker, Component, ExportIndex]:
        if engine not in self._compiled:
            linker, component = Linker(engine), Component(engine, self._text)
            linker.add_wasip2()
            self._compiled[engine] = linker, component, cast("ExportIndex", component.get_export_index(self._function))
        return self._compiled[engine]


Val: Any = _bindings.wasmtime_component_val_t
U8, U64, STRING, LIST, ENUM, RESULT, FLAGS, RESOURCE = 2, 8, 12, 13, 17, 19, 20, 21
"""Kinds of values (wasmtime/component/val.h)."""
val_new = bind(keep_gil, "wasmtime_component_val_new", ctypes.POINTER(Val), P)
val_delete = bind(keep_gil, "wasmtime_component_val_delete", None, P)
drop = bind(keep_gil, "wasmtime_component_resource_any_drop", P, P, P)
_byte_vec_new = bind(keep_gil, "wasm_byte_vec_new", None, P, c_size_t, ctypes.c_char_p)


def fail(result: int, code: bytes) -> int:
    """Writes the error of a `result` with a case of an enumeration to the address `result`; returns 0."""
    written, case = Val.from_address(result), Val(kind=ENUM)
    _byte_vec_new(byref(case.of.enumeration), len(code), code)
    written.kind, written.of.result.is_ok, written.of.result.val = RESULT, False, val_new(byref(case))
    return 0
