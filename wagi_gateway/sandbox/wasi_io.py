"""WASI 0.2 for components: wasmtime's own, with functions in the place of those that wait past the deadline.

A sleep in wasmtime's `wasi:io/poll` is not ended by an epoch. So `poll` and `pollable.block` wait in slices here, and
the guest ends after one of them. Each slice is a call of wasmtime's own `poll`, which only WebAssembly can call: a
helper component does, whose instance is in the guest's store.
Sources: WASI 0.2, `wasi:io/poll`, `wasi:sockets`.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections.abc import Callable
from ctypes import byref, c_bool, c_size_t, c_void_p
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import wasmtime
from wasmtime import _bindings
from wasmtime.component import Component, ExportIndex, Linker

from .context import ExecutionContext, Unwind, current
from .wasmtime_library import P, bind, error_new, keep_gil, release_gil, take_error

logger = logging.getLogger("wagi_gateway")

_VERSION = "0.2.12"
"""The version of WASI under which wasmtime's linker has its functions; others of 0.2 find them too."""
_SLICE = 50_000_000
"""Nanoseconds of a slice, as long as an epoch."""
_MAX_POLLABLES = 1024
"""Pollables of one call; each holds the GIL for a microsecond."""
_POLLABLES_PER_CALL = 16
"""Pollables that take as long as a host call."""
_SOCKETS = {
    "sockets/tcp-create-socket": "create-tcp-socket",
    "sockets/udp-create-socket": "create-udp-socket",
    "sockets/ip-name-lookup": "resolve-addresses",
}
"""The functions without which no other of `wasi:sockets` can be called: each socket is a descriptor of the process."""
_U64, _LIST, _ENUM, _RESULT, _RESOURCE = 8, 13, 17, 19, 21
"""Kinds of values (wasmtime/component/val.h)."""

_HELPER = f"""(component
 (import "wasi:io/poll@{_VERSION}" (instance $io
  (export "pollable" (type $pollable (sub resource)))
  (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
 (alias export $io "pollable" (type $pollable))
 (import "wasi:clocks/monotonic-clock@{_VERSION}" (instance $clock
  (alias outer 1 $pollable (type $pollable))
  (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
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
 (core instance $memory (instantiate $Memory))
 (core func $subscribe (canon lower (func $clock "subscribe-duration")))
 (core func $poll (canon lower (func $io "poll") (memory (core memory $memory "memory"))
  (realloc (core func $memory "realloc"))))
 (core func $drop (canon resource.drop $pollable))
 (core module $Slice
  (import "memory" "memory" (memory 1))
  (import "memory" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "wasi" "poll" (func $poll (param i32 i32 i32)))
  (import "wasi" "drop" (func $drop (param i32)))
  (func (export "poll") (param $in i32) (param $count i32) (param $ns i64) (result i32)
   (local $all i32) (local $timer i32) (local $left i32)
   (local.set $left (i32.shl (local.get $count) (i32.const 2)))
   (local.set $all (call $realloc (local.get $in) (local.get $left) (i32.const 4)
    (i32.add (local.get $left) (i32.const 4))))
   (local.set $timer (i32.add (local.get $all) (local.get $left)))
   (i32.store (local.get $timer) (call $subscribe (local.get $ns)))
   (call $poll (local.get $all) (i32.add (local.get $count) (i32.const 1)) (i32.const 16))
   ;; The handles are dropped, the timer's first. Its index, the largest, is the last of the result.
   (loop $next
    (call $drop (i32.load (i32.add (local.get $all) (local.get $left))))
    (local.set $left (i32.sub (local.get $left) (i32.const 4)))
    (br_if $next (i32.ge_s (local.get $left) (i32.const 0))))
   (if (i32.eq (local.get $count) (i32.load (i32.add (i32.load (i32.const 16))
     (i32.shl (i32.sub (i32.load (i32.const 20)) (i32.const 1)) (i32.const 2)))))
    (then (i32.store (i32.const 20) (i32.sub (i32.load (i32.const 20)) (i32.const 1)))))
   (i32.const 16)))
 (core instance $slice (instantiate $Slice
  (with "memory" (instance $memory))
  (with "wasi" (instance
   (export "subscribe" (func $subscribe)) (export "poll" (func $poll)) (export "drop" (func $drop))))))
 (func (export "poll") (param "in" (list (borrow $pollable))) (param "ns" u64) (result (list u32))
  (canon lift (core func $slice "poll") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))
   (post-return (core func $memory "reset")))))"""

_Val: Any = _bindings.wasmtime_component_val_t
_Instance: Any = _bindings.wasmtime_component_instance_t
_Func: Any = _bindings.wasmtime_component_func_t
_Callback = ctypes.CFUNCTYPE(c_size_t, P, P, P, P, c_size_t, P, c_size_t)
_NO_FINALIZER = c_void_p(None)
_add_func = bind(keep_gil, "wasmtime_component_linker_instance_add_func", P, P, P, c_size_t, P, P, P)
_instantiate = bind(release_gil, "wasmtime_component_linker_instantiate", P, P, P, P, P)
_get_func = bind(keep_gil, "wasmtime_component_instance_get_func", c_bool, P, P, P, P)
_call = bind(release_gil, "wasmtime_component_func_call", P, P, P, P, c_size_t, P, c_size_t)
_post_return = bind(keep_gil, "wasmtime_component_func_post_return", P, P, P)
_val_new = bind(keep_gil, "wasmtime_component_val_new", ctypes.POINTER(_Val), P)
_val_delete = bind(keep_gil, "wasmtime_component_val_delete", None, P)
_byte_vec_new = bind(keep_gil, "wasm_byte_vec_new", None, P, c_size_t, ctypes.c_char_p)
_DENIED = b"access-denied"
_drop = bind(keep_gil, "wasmtime_component_resource_any_drop", P, P, P)


class _Wasi(NamedTuple):
    """WASI 0.2 for one engine."""

    linker: Linker
    native: Linker
    """The linker of the helper, with wasmtime's own functions alone."""
    helper: Component
    poll: ExportIndex


_wasi_of: WeakKeyDictionary[wasmtime.Engine, _Wasi] = WeakKeyDictionary()


class _Running(threading.local):
    """What the host functions need of the guest that runs on this thread."""

    engine: wasmtime.Engine | None = None
    poll: Any = None
    """The helper's function in the guest's store; None until the guest waits."""


_running = _Running()


def enter(engine: wasmtime.Engine) -> Any:
    """Prepares for the next guest on this thread, and returns the linker with WASI 0.2."""
    _running.engine, _running.poll = engine, None
    return _wasi(engine).linker.ptr()


def _wasi(engine: wasmtime.Engine) -> _Wasi:
    if engine not in _wasi_of:
        _wasi_of[engine] = _create(engine)
    return _wasi_of[engine]


def _create(engine: wasmtime.Engine) -> _Wasi:
    linker, native, helper = Linker(engine), Linker(engine), Component(engine, _HELPER)
    native.add_wasip2()
    linker.add_wasip2()
    linker.allow_shadowing = True
    _replace(linker, "io/poll", {"poll": _poll, "[method]pollable.block": _block})
    for interface, function in _SOCKETS.items():
        _replace(linker, interface, {function: _deny})
    return _Wasi(linker, native, helper, cast("ExportIndex", helper.get_export_index("poll")))


_HostFunction = Callable[[ExecutionContext, int, Any, int], int]
"""Called with the context, the address of the store's context, the arguments, and the address of the result; returns
the address of an error, or 0."""


def _replace(linker: Linker, interface: str, functions: dict[str, _HostFunction]) -> None:
    with linker.root() as root, root.add_instance(f"wasi:{interface}@{_VERSION}") as instance:
        for name, function in functions.items():
            encoded = name.encode()
            if error := _add_func(instance.ptr(), encoded, len(encoded), _callback(function), None, None):
                raise wasmtime.WasmtimeError(take_error(error))


@functools.cache  # never freed, because linkers hold its address
def _callback(function: _HostFunction) -> Any:
    @_Callback  # type: ignore[untyped-decorator]
    def callback(_data: int, store: int, _type: int, values: int, count: int, result: int, _results: int) -> int:
        context = current.context
        try:
            if context is None:
                return int(error_new(b"no guest runs on this thread"))
            context.count_host_calls()
            return function(context, store, (_Val * count).from_address(values), result)
        except Unwind:
            return int(error_new(b"stopped by the gateway"))
        except Exception:
            logger.exception("a host function failed")
            return int(error_new(b"a host function failed"))

    return callback


def _deny(_context: ExecutionContext, store: int, arguments: Any, result: int) -> int:
    """Refuses a socket, as wasmtime's own functions refuse every address."""
    for argument in arguments:
        if argument.kind == _RESOURCE:
            _drop(store, argument.of.resource)
    denied, code = _Val.from_address(result), _Val(kind=_ENUM)
    _byte_vec_new(byref(code.of.enumeration), len(_DENIED), _DENIED)
    denied.kind, denied.of.result.is_ok, denied.of.result.val = _RESULT, False, _val_new(byref(code))
    return 0


def _poll(context: ExecutionContext, store: int, arguments: Any, result: int) -> int:
    """`wasi:io/poll` `poll`: waits until one of the pollables is ready, at most until the guest's deadline."""
    pollables = arguments[0].of.list
    if not 0 < pollables.size <= _MAX_POLLABLES:
        return int(error_new(b"poll takes 1 to %d pollables" % _MAX_POLLABLES))
    context.count_host_calls(pollables.size // _POLLABLES_PER_CALL)
    try:
        return _wait(context, store, arguments[0], result)
    finally:
        for number in range(pollables.size):
            _drop(store, pollables.data[number].of.resource)


def _block(context: ExecutionContext, store: int, arguments: Any, _result: int) -> int:
    """`wasi:io/poll` `pollable.block`: waits until the pollable is ready, at most until the guest's deadline."""
    pollables, ready = _Val(kind=_LIST), _Val()
    pollables.of.list.size = 1
    pollables.of.list.data = ctypes.pointer(arguments[0])
    try:
        error = _wait(context, store, pollables, ctypes.addressof(ready))
        if not error:
            _val_delete(byref(ready))
        return error
    finally:
        _drop(store, arguments[0].of.resource)


def _wait(context: ExecutionContext, store: int, pollables: Any, result: int) -> int:
    """Waits in slices until one of the pollables is ready, and writes the list of their indices to `result`. Returns an
    error where the guest has to end."""
    poll = _running.poll
    if poll is None:
        poll, wasi, instance = _Func(), _wasi(cast("wasmtime.Engine", _running.engine)), _Instance()
        error: int = _instantiate(wasi.native.ptr(), store, wasi.helper.ptr(), byref(instance))
        if error:
            return error
        _get_func(byref(instance), store, wasi.poll.ptr(), byref(poll))
        _running.poll = poll
    arguments = (_Val * 2)()
    arguments[0] = pollables
    arguments[1].kind, arguments[1].of.u64 = _U64, _SLICE
    ready = _Val.from_address(result)
    while not context.must_stop():
        if error := _call(byref(poll), store, arguments, 2, result, 1):
            return error
        _post_return(byref(poll), store)
        if ready.of.list.size:
            return 0
        _val_delete(result)
    return int(error_new(b"stopped by the gateway"))
