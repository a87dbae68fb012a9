"""The calls of wasmtime's C library that both kinds of guests need, bound to one release's ABI.

Calls that take microseconds keep the GIL (`PyDLL`), because releasing and taking the GIL costs more; calls that run
guest code release the GIL (`CDLL`), so that guests run in parallel on threads.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_bool, c_char_p, c_uint8, c_uint64, c_void_p
from typing import Any

from wasmtime import _bindings

from .context import current
from .invocation import GuestVolume

P = c_void_p
WORD = c_void_p
"""An integer of 64 bits, or bytes: an argument of this type costs ctypes half of what one of c_size_t or c_char_p does,
and is passed alike where addresses have 64 bits, as on all systems that wasmtime runs on."""
_library = _bindings.dll._name  # type: ignore[attr-defined]
keep_gil = ctypes.PyDLL(_library)
release_gil = ctypes.CDLL(_library)


def bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library, with its types."""
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


config_new = bind(keep_gil, "wasi_config_new", P)
config_delete = bind(keep_gil, "wasi_config_delete", None, P)
_preopen_dir = bind(keep_gil, "wasi_config_preopen_dir", c_bool, P, c_char_p, c_char_p, c_bool)
byte_vec_delete = bind(keep_gil, "wasm_byte_vec_delete", None, P)

store_new = bind(keep_gil, "wasmtime_store_new", P, P, P, P)
context_of = bind(keep_gil, "wasmtime_store_context", P, P)
store_limiter = bind(keep_gil, "wasmtime_store_limiter", None, P, WORD, WORD, WORD, WORD, WORD)
store_delete = bind(release_gil, "wasmtime_store_delete", None, P)
set_wasi = bind(keep_gil, "wasmtime_context_set_wasi", P, P, P)
set_deadline = bind(keep_gil, "wasmtime_context_set_epoch_deadline", None, P, WORD)

error_new = bind(keep_gil, "wasmtime_error_new", P, c_char_p)
_error_message = bind(release_gil, "wasmtime_error_message", None, P, P)
error_delete = bind(keep_gil, "wasmtime_error_delete", None, P)

_EpochCallback = ctypes.CFUNCTYPE(ctypes.c_size_t, P, P, POINTER(c_uint64), POINTER(c_uint8))
_epoch_callback = bind(keep_gil, "wasmtime_store_epoch_deadline_callback", None, P, _EpochCallback, P, P)
_CONTINUE = 0


@_EpochCallback  # type: ignore[untyped-decorator]
def _on_epoch(_context: int, _data: int, delta: Any, update: Any) -> int:
    """Called on the guest's thread at each epoch: lets the guest go on, or ends it with an error."""
    if current.context is None or current.context.must_stop():
        return int(error_new(b"stopped by the gateway"))
    delta[0] = 1
    update[0] = _CONTINUE
    return 0


def check_epochs(store: int, context: int) -> None:
    """Has the guests of a store end at an epoch once they have to."""
    _epoch_callback(store, _on_epoch, None, None)
    set_deadline(context, 1)


def preopen(config: int, volumes: tuple[GuestVolume, ...]) -> str | None:
    """Adds the volumes to a WASI configuration; returns why one cannot be, if so."""
    failure = None
    for volume in volumes:
        if volume.host and not _preopen_dir(config, *volume):
            failure = f"the volume {volume.guest.decode()} cannot be opened"
    return failure


def take_error(error: int) -> str:
    """The message of an error, which is deleted."""
    message = _bindings.wasm_byte_vec_t()
    _error_message(error, byref(message))
    error_delete(error)
    return take_text(message)


def take_text(vector: Any) -> str:
    """The text of a byte vector, which is deleted."""
    text = ctypes.string_at(vector.data, vector.size).rstrip(b"\0").decode("utf-8", "replace")
    byte_vec_delete(byref(vector))
    return text
