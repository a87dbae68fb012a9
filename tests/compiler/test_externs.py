"""Imports and exports read from bytes: the same as wasmtime's, without a request that ends the process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import wasmtime

from tests.support.modules import DISABLED, LOADED, UNDESCRIBED, binary
from wagi_gateway.compiler.binary import MODULE, Malformed, largest_function
from wagi_gateway.compiler.externs import Externs

EVERYTHING = binary(
    """(type $s (struct (field i8) (field (mut (ref null any)))))
 (type $a (array (mut i16)))
 (rec (type $x (sub (struct (field (ref null $y))))) (type $y (sub $x (struct (field (ref null $y)) (field i64)))))
 (import "env" "f" (func (param i32) (result i64 f32)))
 (import "env" "t" (table 1 2 funcref)) (import "env" "m" (memory 1)) (import "env" "g" (global f64))
 (import "env" "e" (tag (param i32)))
 (func (export "first") (param f32 funcref) (result externref) unreachable)
 (table (export "table") 1 (ref null func) (ref.null func))
 (memory (export "memory") 1 2)
 (global f32 (f32.const 1)) (global f64 (f64.const 11)) (global v128 (v128.const i64x2 11 11))
 (global i64 (i64.add (i64.const 1) (i64.mul (i64.const -2) (i64.const 0x7fffffffffffffff))))
 (global (ref $s) (struct.new $s (i32.const 1) (ref.null any))) (global (ref $s) (struct.new_default $s))
 (global (ref $a) (array.new_fixed $a 2 (i32.const 1) (i32.const 2)))
 (global (ref $a) (array.new $a (i32.const 1) (i32.const 2)))
 (global anyref (ref.i31 (i32.const 11))) (global externref (extern.convert_any (ref.i31 (i32.const 1))))
 (global anyref (any.convert_extern (ref.null extern))) (global funcref (ref.func 0))
 (global (export "global") (mut i32) (i32.const 0))
 (tag (export "tag"))
 (func (export "last") (param i32 i32) (result i32) (i32.const 0))
 (data (i32.const 0) "data") (elem (i32.const 0) func 0)"""
)


def test_every_kind_of_import_and_export() -> None:
    wasmtime.Module.validate(wasmtime.Engine(), EVERYTHING)
    externs = Externs.read(EVERYTHING)
    assert [f"{one.module}.{one.name} {one.type}" for one in externs.imports] == [
        "env.f func (i32) -> (i64, f32)",
        "env.t table",
        "env.m memory",
        "env.g global",
        "env.e tag",
    ]
    assert [f"{one.name} {one.type}" for one in externs.exports] == [
        "first func (f32, funcref) -> (externref)",
        "table table",
        "memory memory",
        "global global",
        "tag tag",
        "last func (i32, i32) -> (i32)",
    ]
    assert not externs.undescribed()


@pytest.mark.parametrize(("fields", "where", "what"), UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_what_the_c_api_cannot_describe(fields: str, where: str, what: str) -> None:
    module = binary(fields)
    wasmtime.Module.validate(wasmtime.Engine(), module)
    problem, *_ = Externs.read(module).undescribed()
    assert problem.what.startswith(f"{where}: has {what}")
    assert ", which wasmtime's C API cannot describe; " in problem.what


@pytest.mark.parametrize(
    "fields",
    [
        " ".join(f'(import "a" "{number}" (func (param v128)))' for number in range(300)),
        " ".join(f'(global (export "{number}") v128 (v128.const i64x2 0 0))' for number in range(300)),
    ],
    ids=["imports", "exports"],
)
def test_the_problems_are_bounded(fields: str) -> None:
    assert len(Externs.read(binary(fields)).undescribed()) == 100


@pytest.mark.parametrize("fields", LOADED.values(), ids=LOADED)
def test_what_the_c_api_can_describe(fields: str) -> None:
    assert not Externs.read(binary(fields)).undescribed()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("(memory 1 2 shared)", True),
        ('(import "env" "memory" (memory 1 2 shared))', True),
        ('(memory 1) (memory (export "memory") i64 1 2 shared)', True),
        ('(memory (export "memory") 1 2)', False),
    ],
    ids=["own", "imported", "the second, of 64 bits", "not shared"],
)
def test_a_shared_memory(fields: str, expected: bool) -> None:
    assert Externs.read(binary(fields)).has_shared_memory == expected


@pytest.mark.parametrize("fields", DISABLED.values(), ids=DISABLED)
def test_types_of_disabled_proposals(fields: str) -> None:
    """The reader or wasmtime refuses them."""
    module = binary(fields)
    with suppress(Malformed):
        Externs.read(module)
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.validate(wasmtime.Engine(), module)


HUGE = b"\xff\xff\xff\xff\x0f"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the magic number"),
        (b"\0asm\2\0\0\0", "the magic number"),
        (MODULE + b"\x01", "the bytes end too early"),
        (MODULE + b"\x01" + HUGE, "the bytes end too early"),
        (MODULE + b"\x01\x80\x80\x80\x80\x80\x00", "a number is longer than 32 bits"),
        (MODULE + b"\x01\x05" + HUGE, "a vector of 4294967295 elements is too long"),
        (MODULE + b"\x01\x07\x01\x60" + HUGE, "a vector of 4294967295 elements is too long"),
        (MODULE + b"\x01\x01\x00\x01\x01\x00", "section 1 appears twice"),
        (MODULE + b"\x01\x03\x01\x60\x01", "a vector of 1 elements is too long"),
        (MODULE + b"\x01\x02\x01\x40", "0x40 is no type"),
        (MODULE + b"\x02\x06\x01\x01a\x01\xff\x00", "a name is not UTF-8"),
        (MODULE + b"\x02\x07\x01\x01a\x01b\x00\x00", "a function has no type"),
        (MODULE + b"\x02\x07\x01\x01a\x01b\x7f\x00", "0x7f is no kind of import"),
        (MODULE + b"\x04\x04\x01\x70\xff\x00", "0xff are no limits"),
        (MODULE + b"\x06\x03\x01\x40\x00", "0x40 is no value type"),
        (MODULE + b"\x06\x05\x01\x7f\x00\x41\x00", "a constant expression cannot be read"),
        (MODULE + b"\x07\x05\x01\x01a\x00\x00", "an export names nothing"),
        (MODULE + b"\x07\x05\x01\x01a\x09\x00", "an export names nothing"),
        (MODULE + b"\x00\x05ab", "the bytes end too early"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        Externs.read(data)


def test_every_truncation_is_read_or_malformed() -> None:
    for end in range(len(EVERYTHING)):
        for read in (Externs.read, largest_function):
            with suppress(Malformed):
                read(EVERYTHING[:end])


MANY = {
    "empty groups of types": b"\x01\xc4\x84\x3d\xc0\x84\x3d" + b"\x4e\x00" * 500_000 + b"\x01\x00",
    "a long expression": b"\x06\x87\x89\x7a\x01\x7f\x00\x41\x00" + b"\x41\x00\x6a" * 666_667 + b"\x0b",
    "custom sections": b"\x00\x01\x00" * 1_000_000,
    "a custom section": b"\x00\x80\x01" + b"\x00" * 128,
}


@pytest.mark.parametrize("sections", MANY.values(), ids=MANY)
@pytest.mark.timeout(60)
def test_no_input_takes_long(sections: bytes) -> None:
    with suppress(Malformed):
        Externs.read(MODULE + sections)


@pytest.mark.parametrize("name", ["a long expression", "custom sections"])
def test_other_threads_run_meanwhile(name: str) -> None:
    """A match of a regular expression holds the GIL: it may not be that of a whole section."""
    is_over = threading.Event()

    def count() -> int:
        turns = 0
        while not is_over.wait(0.0005):
            turns += 1
        return turns

    with ThreadPoolExecutor(1) as thread:
        turns = thread.submit(count)
        for _ in range(5):
            Externs.read(MODULE + MANY[name])
        is_over.set()
        assert turns.result() > 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('(import "a" "b" (func))' * 10_001, "10001 imports are more than 10000"),
        ("(func $f)" + "".join(f'(export "{number}" (func $f))' for number in range(100_001)), "100001 exports are"),
    ],
    ids=["imports", "exports"],
)
def test_the_number_of_imports_and_exports_is_bounded(fields: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        Externs.read(binary(fields))
