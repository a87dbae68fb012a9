"""Modules as `push` and `inspect` read them: binary form, imports and exports."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.interface import assemble, read_interface
from wagi_gateway.errors import StartupError

EMPTY, COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"
WAT = b"""
(module
  (import "env" "log" (func (param i32 i64)))
  (memory (export "memory") 1)
  (func (export "_start"))
  (func (export "add") (param i32 i32) (result i32) (i32.const 0)))
"""


@pytest.mark.parametrize(
    ("data", "is_text", "expected"),
    [(EMPTY, False, EMPTY), (EMPTY, True, EMPTY), (b"(module)", True, EMPTY), (COMPONENT, False, COMPONENT)],
    ids="binary|binary in a file of text|text|component".split("|"),
)
def test_the_binary_form(data: bytes, is_text: bool, expected: bytes) -> None:
    assert assemble("m", data, is_text=is_text) == expected


@pytest.mark.parametrize(
    ("data", "is_text"),
    [(b"(modul)", True), (EMPTY + b"\xff", False), (EMPTY + b"\x0a\x01\x01", True)],
    ids="text|unknown section|body without a function".split("|"),
)
def test_no_module(data: bytes, is_text: bool) -> None:
    with pytest.raises(StartupError, match=r"^m\.wasm: is no module: [^\n|]+$"):
        assemble("m.wasm", data, is_text=is_text)


def test_imports_and_exports_have_names_and_types() -> None:
    assert read_interface("m", bytes(wasmtime.wat2wasm(WAT))) == (
        ["env.log  func (i32, i64) -> ()"],
        ["memory  memory", "_start  func () -> ()", "add  func (i32, i32) -> (i32)"],
    )


def test_interfaces_of_a_component_have_names_and_kinds() -> None:
    text = b'(component (import "wasi:cli/exit@0.2.0" (instance)) (import "log" (func)))'
    assert read_interface("m", text) == (["wasi:cli/exit@0.2.0  instance", "log  func"], [])


@pytest.mark.parametrize(
    ("data", "what"),
    [(COMPONENT + b"\x0a", "cannot be read: "), (b"hello", "is no module: ")],
)
def test_no_interface(data: bytes, what: str) -> None:
    with pytest.raises(StartupError, match=f"^m: {what}"):
        read_interface("m", data)
