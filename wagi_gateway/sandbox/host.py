"""Host functions as data: name, signature and implementation.

A host function runs on the guest's thread. The backends (`capi`, `public`) add a HostImport to a linker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import wasmtime

from ..compiler.externs import FunctionType, Import
from .context import ExecutionContext, Unwind

logger = logging.getLogger("wagi_gateway")

HostFunction = Callable[..., int]
"""Called with the ExecutionContext and the arguments, as unsigned integers; returns an i32. Raises Unwind."""


class HostImport(NamedTuple):
    """A function that the gateway offers to guests; it returns an i32."""

    module: str
    name: str
    parameters: str
    """The types of the parameters: `i` for an i32, `I` for an i64."""
    function: HostFunction
    failed: int
    """The result where `function` raises."""
    has_result: bool = True


_MAX_NAME = 200
"""Characters of the name of a missing import in the outcome of a guest."""
_TYPES = {
    "i32": wasmtime.ValType.i32,
    "i64": wasmtime.ValType.i64,
    "f32": wasmtime.ValType.f32,
    "f64": wasmtime.ValType.f64,
    "funcref": wasmtime.ValType.funcref,
    "externref": wasmtime.ValType.externref,
}


def missing_type(wanted: Import) -> wasmtime.FuncType:
    """The type of an imported function, for one linker: an engine takes ownership."""
    kind = wanted.type
    values = (kind.parameters, kind.results) if isinstance(kind, FunctionType) else ((), ())
    parameters, results = ([_TYPES[value]() for value in some] for some in values)
    return wasmtime.FuncType(parameters, results)


def missing_trap(wanted: Import) -> str:
    """The cause of the trap of a call of an import that the gateway does not provide."""
    return f"call of a missing import ({wanted.module}.{wanted.name}"[:_MAX_NAME] + ")"


def call(context: ExecutionContext, function: HostFunction, arguments: Sequence[int], failed: int) -> int:
    """Calls a host function. Raises Unwind alone: ctypes would print another exception past the log, and the guest
    would read its own first argument as the result."""
    try:
        if context.is_ending:  # as `count_host_calls` does, whose call would cost more than the rest of this function
            raise Unwind
        context.calls_left -= 1
        if context.calls_left <= 0:
            context.pause()
        return function(context, *arguments)
    except Unwind:
        raise
    except Exception:
        logger.exception("a host function failed")
        return failed
