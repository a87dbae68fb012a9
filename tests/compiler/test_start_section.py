"""The start section becomes an export."""

from __future__ import annotations

import pytest
import wasmtime

from wagi_gateway.compiler.start_section import defer_start

MODULES = {
    "no exports": "(module (func $s) (start $s))",
    "exports": '(module (memory (export "memory") 1) (func $s (export "start")) (start $s) (data "x") (elem func $s))',
    "imported": '(module (import "a" "b" (func $f)) (func $s (export "start_")) (start $f) (global i32 (i32.const 1)))',
    "many exports": "(module "
    + "".join(f'(func (export "f{number}"))' for number in range(127))
    + "(func $s) (start $s))",
}


@pytest.mark.parametrize("wat", MODULES.values(), ids=MODULES.keys())
def test_a_start_section_becomes_an_export(wat: str) -> None:
    data = bytes(wasmtime.wat2wasm(wat))
    deferred = defer_start(data)
    assert deferred.start
    engine = wasmtime.Engine()
    before, after = (
        {export.name for export in wasmtime.Module(engine, bytes_).exports} for bytes_ in (data, deferred.data)
    )
    assert after == before | {deferred.start.decode()}
    assert defer_start(deferred.data) == (deferred.data, None)


def test_the_start_function_is_called_by_name() -> None:
    wat = '(module (global (export "g") (mut i32) (i32.const 1)) (func $s (global.set 0 (i32.const 2))) (start $s))'
    deferred = defer_start(bytes(wasmtime.wat2wasm(wat)))
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, deferred.data), []).exports(store)
    function, number = exports[(deferred.start or b"").decode()], exports["g"]
    assert isinstance(function, wasmtime.Func)
    assert isinstance(number, wasmtime.Global)
    assert number.value(store) == 1
    function(store)
    assert number.value(store) == 2


@pytest.mark.parametrize(
    "data", [b"", b"\0asm\1\0\0\0", b"\0asm\1\0\0\0\x08\x01", bytes(wasmtime.wat2wasm("(module)"))]
)
def test_other_modules_are_as_they_were(data: bytes) -> None:
    assert defer_start(data) == (data, None)
