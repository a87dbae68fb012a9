"""`wasi_experimental_http`, the import module through which guests call out. This version denies every call."""

from __future__ import annotations

import functools

import wasmtime

from .sandbox.invocation import current

MODULE = "wasi_experimental_http"

_OK, _INVALID_HANDLE, _DESTINATION_NOT_ALLOWED = 0, 1, 7
_PARAMETERS = {"req": 10, "close": 1, "header_get": 6, "headers_get_all": 4, "body_read": 4}
# Without a request there is no handle, so every look-up fails; closing an unknown handle is no error (spec: wagi.md).
_RESULTS = {
    "req": _DESTINATION_NOT_ALLOWED,
    "close": _OK,
    "header_get": _INVALID_HANDLE,
    "headers_get_all": _INVALID_HANDLE,
    "body_read": _INVALID_HANDLE,
}


def define_outbound(linker: wasmtime.Linker) -> None:
    """Adds the import module, so that modules which may call out can be loaded whether or not they are allowed to."""
    i32 = wasmtime.ValType.i32()
    for name, count in _PARAMETERS.items():
        linker.define_func(MODULE, name, wasmtime.FuncType([i32] * count, [i32]), functools.partial(_deny, name))


def _deny(name: str, *_: int) -> int:
    if current.invocation is not None:
        current.invocation.count_host_call()
    return _RESULTS[name]
