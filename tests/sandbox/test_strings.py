"""The WASI functions that give a guest its arguments and its environment, without a guest."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.strings import args_get, args_sizes_get, environ_get, environ_sizes_get

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

Function = Callable[[ExecutionContext, int, int], int]
SUCCESS, FAULT = 0, 21
ARGUMENTS, ENVIRONMENT = (args_sizes_get, args_get), (environ_sizes_get, environ_get)
SIZE = 128


def guest(argv: list[bytes], environ: dict[bytes, bytes], size: int | None = SIZE) -> ExecutionContext:
    """A guest with a memory of so many bytes, or without one."""
    context = ExecutionContext(replace(invocation(guests.HELLO), argv=argv, environ=environ))
    context.memory = None if size is None else BytesMemory(size)
    return context


def read(context: ExecutionContext, sizes_get: Function, get: Function) -> list[bytes]:
    """The strings that a guest finds where it has asked for them."""
    memory = context.memory
    assert memory
    assert sizes_get(context, 0, 4) == SUCCESS
    count, size = struct.unpack("<II", memory.read(0, 8))
    assert get(context, 8, SIZE - size) == SUCCESS  # the block ends with the memory
    pointers = struct.unpack(f"<{count}I", memory.read(8, 4 * count))
    return [memory.read(pointer, SIZE - pointer).partition(b"\0")[0] for pointer in pointers]


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        ([], {}),
        ([b"/x"], {b"A": b"b"}),
        ([b"/x", b"", b"\xff\xfe"], {b"": b"", b"A": b"", b"B": b"=", b"C": b"\xff"}),
    ],
    ids=["none", "one", "empty ones, and not UTF-8"],
)
def test_strings(argv: list[bytes], environ: dict[bytes, bytes]) -> None:
    context = guest(argv, environ)
    for _ in range(2):
        assert read(context, *ARGUMENTS) == argv
        assert read(context, *ENVIRONMENT) == [name + b"=" + value for name, value in environ.items()]


@pytest.mark.parametrize("function", [*ARGUMENTS, *ENVIRONMENT])
@pytest.mark.parametrize(
    ("first", "second"),
    [(SIZE - 3, 0), (0, SIZE - 3), (SIZE, 0), (0, SIZE), (2**32 - 1, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1)],
)
def test_beyond_memory(function: Function, first: int, second: int) -> None:
    assert function(guest([b"xy", b"z"], {b"A": b"b", b"B": b"c"}), first, second) == FAULT


@pytest.mark.parametrize("function", [*ARGUMENTS, *ENVIRONMENT])
def test_without_memory(function: Function) -> None:
    assert function(guest([b"x"], {b"A": b"b"}, size=None), 0, 4) == FAULT
