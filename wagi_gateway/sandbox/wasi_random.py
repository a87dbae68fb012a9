"""`wasi:random` for components: wasmtime's own makes up to 64 MiB at once, beyond a guest's memory and time.

Source: WASI 0.2, `wasi:random/random`, `wasi:random/insecure`.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref
from typing import Any

from .context import ExecutionContext
from .wasi_helper import LIST, U8, Val
from .wasmtime_library import P, bind, error_new, keep_gil

_MAX_BYTES = 65_536
"""Bytes of one call, as many as of `getRandomValues` (Web Cryptography API). Each byte is a value of 32 bytes here."""
_BYTES_PER_CALL = 1024
"""Bytes that take as long as a host call."""
_SIZE = ctypes.sizeof(Val)
_new_list = bind(keep_gil, "wasmtime_component_vallist_new_uninit", None, P, ctypes.c_size_t)


def get_random_bytes(context: ExecutionContext, _store: int, arguments: Any, result: int) -> int:
    """`get-random-bytes` and `get-insecure-random-bytes`, with a bound on their number."""
    size = arguments[0].of.u64
    if size > _MAX_BYTES:
        return int(error_new(b"get-random-bytes takes at most %d bytes at a time" % _MAX_BYTES))
    context.count_host_calls(size // _BYTES_PER_CALL)
    values = bytearray(size * _SIZE)
    values[Val.kind.offset :: _SIZE] = bytes([U8]) * size
    values[Val.of.offset :: _SIZE] = os.urandom(size)
    random = Val.from_address(result)
    _new_list(byref(random.of.list), size)
    ctypes.memmove(random.of.list.data, bytes(values), len(values))
    random.kind = LIST
    return 0
