"""The WASI functions that hand a guest its argument vector and environment.

Source: WASI preview 1, `args_sizes_get`, `args_get`, `environ_sizes_get`, `environ_get`.
"""

from __future__ import annotations

import struct

from . import errno
from .context import ExecutionContext
from .memory import OutOfBounds
from .string_array import StringArray

_pack_u32 = struct.Struct("<I").pack_into


def args_sizes_get(context: ExecutionContext, count_at: int, size_at: int) -> int:
    """Writes the number of arguments and the bytes they need."""
    return _write_sizes(context, _arguments(context), count_at, size_at)


def args_get(context: ExecutionContext, pointers_at: int, block_at: int) -> int:
    """Writes the arguments."""
    return _write_strings(context, _arguments(context), pointers_at, block_at)


def environ_sizes_get(context: ExecutionContext, count_at: int, size_at: int) -> int:
    """Writes the number of environment variables and the bytes they need."""
    return _write_sizes(context, _environment(context), count_at, size_at)


def environ_get(context: ExecutionContext, pointers_at: int, block_at: int) -> int:
    """Writes the environment variables."""
    return _write_strings(context, _environment(context), pointers_at, block_at)


def _arguments(context: ExecutionContext) -> StringArray:
    if context.arguments is None:
        context.arguments = StringArray(context.invocation.argv)
    return context.arguments


def _environment(context: ExecutionContext) -> StringArray:
    if context.environment is None:
        environ = context.invocation.environ
        variables = environ() if callable(environ) else environ
        context.environment = StringArray(map(b"=".join, variables.items()))
    return context.environment


def _write_sizes(context: ExecutionContext, strings: StringArray, count_at: int, size_at: int) -> int:
    if context.memory is None:
        return errno.FAULT
    try:
        context.memory.check(count_at, 4)
        context.memory.check(size_at, 4)
    except OutOfBounds:
        return errno.FAULT
    _pack_u32(context.memory.view, count_at, len(strings))
    _pack_u32(context.memory.view, size_at, len(strings.block))
    return errno.SUCCESS


def _write_strings(context: ExecutionContext, strings: StringArray, pointers_at: int, block_at: int) -> int:
    if context.memory is None:
        return errno.FAULT
    try:
        context.memory.check(block_at, len(strings.block))
        context.memory.write(pointers_at, strings.pointers(block_at))
        context.memory.write(block_at, strings.block)
    except OutOfBounds:
        return errno.FAULT
    return errno.SUCCESS
