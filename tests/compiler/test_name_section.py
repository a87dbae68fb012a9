"""The name section is dropped if a backtrace would be long."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.binary import leb128
from wagi_gateway.compiler.name_section import without_long_names

EMPTY = b"\0asm\1\0\0\0"


def named(*sizes: int, other: int = 0) -> bytes:
    """A module with functions that have names of these sizes, and a local variable with one."""
    functions = "".join(f"(func ${number}{'n' * (size - 1)})" for number, size in enumerate(sizes))
    local = f"(func (local $l{'o' * other} i32))" if other else ""
    return bytes(wasmtime.wat2wasm(f"(module {functions} {local})"))


def custom(name: bytes, content: bytes) -> bytes:
    body = leb128(len(name)) + name + content
    return b"\0" + leb128(len(body)) + body


@pytest.mark.parametrize(
    "data",
    [b"", EMPTY, EMPTY + b"\0", named(1, 1024), named(5, other=5000), EMPTY + custom(b"x", b"n" * 9999)],
    ids="nothing|empty|malformed|short names|a local variable|another section".split("|"),
)
def test_what_stays(data: bytes) -> None:
    assert without_long_names(data) is data


@pytest.mark.parametrize(
    "section",
    [
        custom(b"name", b"\1" + leb128(1030) + b"\1\0" + leb128(1026) + b"n" * 1026),
        custom(b"name", b"\1\x7f"),
        custom(b"name", b"\1\2\1\0"),
        custom(b"name", b"\1\3\0\0\0"),
    ],
    ids="long name|cut off|no size|another size".split("|"),
)
def test_what_is_dropped(section: bytes) -> None:
    other = custom(b"x", b"y")
    assert without_long_names(EMPTY + other + section + other + section) == EMPTY + other + other


def test_a_module_is_as_it_was_without_its_names() -> None:
    data = named(2000, 3)
    dropped = without_long_names(data)
    wasmtime.Module.validate(wasmtime.Engine(), dropped)
    assert len(dropped) < len(data) - 2000
    assert data.startswith(dropped)
