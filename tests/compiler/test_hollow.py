"""Modules without code and data keep their types."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.binary import Malformed
from wagi_gateway.compiler.externs import Externs
from wagi_gateway.compiler.hollow import without_code

WAT = """(module (import "a" "b" (func (param i64))) (memory (export "m") 1) (table 1 funcref)
 (elem (i32.const 0) func $f)
 (data "never seen")
 (func $f (export "f") (param i32) (result i32) (local i64) (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0))
  (i32.const 1))
 (func))"""


def test_the_interface_is_kept_and_the_code_is_not() -> None:
    module = bytes(wasmtime.wat2wasm(WAT))
    hollow = without_code(module)
    wasmtime.Module.validate(wasmtime.Engine(), hollow)
    assert Externs.read(hollow) == Externs.read(module)
    assert b"never seen" not in hollow


@pytest.mark.parametrize("module", [b"", b"\0asm\1\0\0\0\x0a\5\xff"])
def test_a_malformed_module_is_refused(module: bytes) -> None:
    with pytest.raises(Malformed):
        without_code(module)
