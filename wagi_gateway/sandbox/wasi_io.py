"""WASI 0.2 for components: wasmtime's own, with functions in the place of those that wait past the deadline.

A sleep in wasmtime's `wasi:io/poll` is not ended by an epoch. So `poll` and `pollable.block` wait in slices here, and
the guest ends after one of them. Each slice is a call of wasmtime's own `poll` by a helper (`wasi_helper`).
Sources: WASI 0.2, `wasi:io/poll`, `wasi:sockets`.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from ctypes import byref, c_size_t
from typing import Any
from weakref import WeakKeyDictionary

import wasmtime
from wasmtime.component import Linker

from ..config.settings import Limits
from . import wasi_helper
from .context import ExecutionContext, Unwind, current
from .wasi_files import open_at
from .wasi_helper import (
    ENUM,
    FLAGS,
    LIST,
    MEMORY,
    OPTIONS,
    RESET,
    RESOURCE,
    STRING,
    U64,
    VERSION,
    Helper,
    Val,
    drop,
    fail,
    val_delete,
)
from .wasi_random import get_random_bytes
from .wasmtime_library import P, bind, error_new, keep_gil, take_error

logger = logging.getLogger("wagi_gateway")

_SLICE = 50_000_000
"""Nanoseconds of a slice, as long as an epoch."""
_MAX_POLLABLES = 1024
"""Pollables of one call; each holds the GIL for a microsecond."""
_OTHER_SIGNATURE = b"a function of WASI was imported with another signature than WASI's"
_POLLABLES_PER_CALL = 16
"""Pollables that take as long as a host call."""
_SOCKETS = {
    "sockets/tcp-create-socket": ("create-tcp-socket", (ENUM,)),
    "sockets/udp-create-socket": ("create-udp-socket", (ENUM,)),
    "sockets/ip-name-lookup": ("resolve-addresses", (RESOURCE, STRING)),
}
"""The functions without which no other of `wasi:sockets` can be called: each socket is a descriptor of the process."""

_HELPER = Helper(
    f"""(component
 (import "wasi:io/poll@{VERSION}" (instance $io
  (export "pollable" (type $pollable (sub resource)))
  (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
 (alias export $io "pollable" (type $pollable))
 (import "wasi:clocks/monotonic-clock@{VERSION}" (instance $clock
  (alias outer 1 $pollable (type $pollable))
  (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
 {MEMORY}
 (core func $subscribe (canon lower (func $clock "subscribe-duration")))
 (core func $poll (canon lower (func $io "poll") {OPTIONS}))
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
  (canon lift (core func $slice "poll") {OPTIONS}
   {RESET})))""",
    "poll",
)

_Callback = ctypes.CFUNCTYPE(c_size_t, P, P, P, P, c_size_t, P, c_size_t)
_add_func = bind(keep_gil, "wasmtime_component_linker_instance_add_func", P, P, P, c_size_t, P, P, P)

_linkers: WeakKeyDictionary[wasmtime.Engine, Linker] = WeakKeyDictionary()


def enter(engine: wasmtime.Engine, store: int, limits: Limits, *, bridges: int) -> Any:
    """Prepares for the next guest on this thread, which has `bridges` within; returns the linker with WASI 0.2."""
    wasi_helper.enter(engine, store, limits, limits.memories + bridges)
    return linker(engine).ptr()


def linker(engine: wasmtime.Engine) -> Linker:
    """The linker with WASI 0.2, made at the first call."""
    found = _linkers.get(engine)
    if found is None:
        found = _linkers[engine] = _create(engine)
    return found


def _create(engine: wasmtime.Engine) -> Linker:
    linker = Linker(engine)
    linker.add_wasip2()
    linker.allow_shadowing = True
    _replace(linker, "io/poll", "poll", (LIST,), _poll)
    _replace(linker, "io/poll", "[method]pollable.block", (RESOURCE,), _block, results=0)
    open_at_kinds = RESOURCE, FLAGS, STRING, FLAGS, FLAGS
    _replace(linker, "filesystem/types", "[method]descriptor.open-at", open_at_kinds, open_at)
    _replace(linker, "random/random", "get-random-bytes", (U64,), get_random_bytes)
    _replace(linker, "random/insecure", "get-insecure-random-bytes", (U64,), get_random_bytes)
    for interface, (name, kinds) in _SOCKETS.items():
        _replace(linker, interface, name, kinds, _deny)
    return linker


_HostFunction = Callable[[ExecutionContext, int, Any, int], int]
"""Called with the context, the address of the store's context, the arguments, and the address of the result; returns
the address of an error, or 0."""


def _replace(
    linker: Linker, interface: str, name: str, kinds: tuple[int, ...], function: _HostFunction, *, results: int = 1
) -> None:
    """Defines a function of WASI, whose parameters have these kinds."""
    callback, encoded = _callback(function, kinds, results), name.encode()
    with linker.root() as root, root.add_instance(f"wasi:{interface}@{VERSION}") as instance:
        if error := _add_func(instance.ptr(), encoded, len(encoded), callback, None, None):
            raise wasmtime.WasmtimeError(take_error(error))


@functools.cache  # never freed, because linkers hold its address
def _callback(function: _HostFunction, kinds: tuple[int, ...], expected_results: int) -> Any:
    # wasmtime compares no types of a function that is defined this way: a guest may import it with any signature.
    arguments_type = Val * len(kinds)

    @_Callback  # type: ignore[untyped-decorator]
    def callback(_data: int, store: int, _type: int, values: int, count: int, result: int, results: int) -> int:
        context = current.context
        try:
            if context is None:
                return int(error_new(b"no guest runs on this thread"))
            context.count_host_calls()
            if count != len(kinds) or results != expected_results:
                return int(error_new(_OTHER_SIGNATURE))
            arguments = arguments_type.from_address(values)
            if any(argument.kind != kind for argument, kind in zip(arguments, kinds, strict=True)):
                return int(error_new(_OTHER_SIGNATURE))
            return function(context, store, arguments, result)
        except Unwind:
            return int(error_new(b"stopped by the gateway"))
        except Exception:
            logger.exception("a host function failed")
            return int(error_new(b"a host function failed"))

    return callback


def _deny(_context: ExecutionContext, store: int, arguments: Any, result: int) -> int:
    """Refuses a socket, as wasmtime's own functions refuse every address."""
    for argument in arguments:
        if argument.kind == RESOURCE:
            drop(store, argument.of.resource)
    return fail(result, b"access-denied")


def _poll(context: ExecutionContext, store: int, arguments: Any, result: int) -> int:
    """`wasi:io/poll` `poll`: waits until one of the pollables is ready, at most until the guest's deadline."""
    pollables = arguments[0].of.list
    if not 0 < pollables.size <= _MAX_POLLABLES:
        return int(error_new(b"poll takes 1 to %d pollables" % _MAX_POLLABLES))
    if pollables.data[0].kind != RESOURCE:  # all elements of a list have one type
        return int(error_new(_OTHER_SIGNATURE))
    context.count_host_calls(pollables.size // _POLLABLES_PER_CALL)
    try:
        return _wait(context, store, arguments[0], result)
    finally:
        for number in range(pollables.size):
            drop(store, pollables.data[number].of.resource)


def _block(context: ExecutionContext, store: int, arguments: Any, _result: int) -> int:
    """`wasi:io/poll` `pollable.block`: waits until the pollable is ready, at most until the guest's deadline."""
    pollables, ready = Val(kind=LIST), Val()
    pollables.of.list.size = 1
    pollables.of.list.data = ctypes.pointer(arguments[0])
    try:
        if error := _wait(context, store, pollables, ctypes.addressof(ready)):
            return error
        val_delete(byref(ready))
        return 0
    finally:
        drop(store, arguments[0].of.resource)


def _wait(context: ExecutionContext, store: int, pollables: Any, result: int) -> int:
    """Waits in slices until one of the pollables is ready, and writes the list of their indices to `result`. Returns an
    error where the guest has to end."""
    arguments = (Val * 2)()
    arguments[0] = pollables
    arguments[1].kind, arguments[1].of.u64 = U64, _SLICE
    ready = Val.from_address(result)
    while not context.must_stop():
        if error := _HELPER.call(store, arguments, 2, result):
            return error
        if ready.of.list.size:
            return 0
        val_delete(result)
    return int(error_new(b"stopped by the gateway"))
