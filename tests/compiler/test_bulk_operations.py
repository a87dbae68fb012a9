"""Modules before and after their bulk operations are split: the same memories and traps, but many epoch checks."""

from __future__ import annotations

import ctypes
import functools
import itertools
import random
from pathlib import Path
from typing import NamedTuple

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import _bindings

from tests.conftest import ROOT
from wagi_gateway.compiler.binary import CODE, FUNCTION, TYPE, find_sections
from wagi_gateway.compiler.bulk_operations import make_interruptible
from wagi_gateway.compiler.chunked_functions import CHUNK
from wagi_gateway.compiler.engine import create_plain_engine

ENGINE = create_plain_engine()
_, EPOCH_CALLBACK, _, FINALIZER = _bindings._wasmtime_store_epoch_deadline_callback.argtypes
PAGE = 65536
SIZE = 4 * CHUNK + PAGE
"""Bytes of a memory."""
MAX_32, MAX_64 = 2**32 - 1, 2**64 - 1
PATTERN = random.Random(14).randbytes(2 * SIZE)


def binary(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {wat})"))


class Outcome(NamedTuple):
    """What a call did."""

    trap: wasmtime.TrapCode | None
    memories: list[bytes]


class Guest:
    """An instance of a module whose function `f` is called, with the memories `a` and `b`."""

    def __init__(self, data: bytes) -> None:
        self._store = wasmtime.Store(ENGINE)
        self._store.set_epoch_deadline(1)
        exports = wasmtime.Instance(self._store, wasmtime.Module(ENGINE, data), []).exports(self._store)
        # Memory.read and Memory.write take milliseconds.
        memories = [memory for name in "ab" if isinstance(memory := exports.get(name), wasmtime.Memory)]
        self._addresses = [ctypes.addressof(memory.data_ptr(self._store).contents) for memory in memories]
        self._f = exports["f"]

    def call(self, *operands: int) -> Outcome:
        """Calls the function with memories that hold a pattern."""
        for begin, address in enumerate(self._addresses):
            ctypes.memmove(address, PATTERN[begin : begin + SIZE], SIZE)
        trap = None
        try:
            assert isinstance(self._f, wasmtime.Func)
            self._f(self._store, *operands)
        except wasmtime.Trap as error:
            trap = error.trap_code
        return Outcome(trap, [ctypes.string_at(address, SIZE) for address in self._addresses])


CASES = {
    "fill 32": ("32", "memory.fill", "i32 i32 i32"),
    "fill 64": ("64", "memory.fill", "i64 i32 i64"),
    "copy 32": ("32", "memory.copy", "i32 i32 i32"),
    "copy 64": ("64", "memory.copy", "i64 i64 i64"),
    "copy 32 to 32": ("32 32", "memory.copy 0 1", "i32 i32 i32"),
    "copy 64 to 64": ("64 64", "memory.copy 1 0", "i64 i64 i64"),
    "copy 64 to 32": ("32 64", "memory.copy 0 1", "i32 i64 i32"),
    "copy 32 to 64": ("64 32", "memory.copy 0 1", "i64 i32 i32"),
    "fill the second": ("32 64", "memory.fill 1", "i64 i32 i64"),
}


@functools.cache
def guests(case: str) -> tuple[Guest, Guest]:
    """A guest, and the rewritten one."""
    memories, instruction, operands = CASES[case]
    fields = " ".join(
        f'(memory (export "{name}") {"i64" if kind == "64" else ""} {SIZE // PAGE})'
        for name, kind in zip("ab", memories.split(), strict=False)
    )
    get = "".join(f"(local.get {index})" for index in range(3))
    data = binary(f'{fields} (func (export "f") (param {operands}) {get} {instruction})')
    rewritten = make_interruptible(data)
    assert rewritten.data != data
    assert rewritten.is_complete
    return Guest(data), Guest(rewritten.data)


SIGNED = {"i32": ctypes.c_int32, "i64": ctypes.c_int64}


def assert_alike(case: str, operands: tuple[int, ...]) -> None:
    kinds = CASES[case][2].split()
    signed = [
        ctypes.c_int64(n).value if kind == "i64" else ctypes.c_int32(n).value
        for kind, n in zip(kinds, operands, strict=True)
    ]
    before, after = (guest.call(*signed) for guest in guests(case))
    assert before.trap == after.trap
    assert before.memories == after.memories


SIZES = [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7, SIZE - 1, SIZE, SIZE + 1, MAX_32, MAX_32 - CHUNK]
SIZES_64 = [MAX_32 + 1, MAX_64, MAX_64 - CHUNK]
ADDRESSES = [0, 1, SIZE - 2 * CHUNK, SIZE, SIZE + 1, MAX_32 - CHUNK]


@pytest.mark.parametrize("case", CASES)
def test_edge_values(case: str) -> None:
    columns = [ADDRESSES, [0xAB, 0x1FF] if "fill" in case else ADDRESSES, SIZES]
    for column, kind in enumerate(CASES[case][2].split()):
        columns[column] = columns[column] + (SIZES_64 if kind == "i64" else [])
    for operands in itertools.product(*columns):
        assert_alike(case, operands)


NEAR = st.one_of(st.sampled_from(SIZES), st.integers(0, SIZE)).flatmap(lambda n: st.integers(max(n - 9, 0), n + 9))


@given(st.sampled_from(sorted(CASES)), NEAR, NEAR, NEAR)
def test_any_values(case: str, destination: int, second: int, size: int) -> None:
    assert_alike(case, (destination, second, size))


def test_the_end_of_a_memory_of_4_gib() -> None:
    fields = """(memory (export "m") 65536) (func (export "f") (param i32 i32 i32)
     (memory.fill (local.get 0) (local.get 1) (local.get 2)))"""
    store = wasmtime.Store(ENGINE)
    store.set_epoch_deadline(1)
    module = wasmtime.Module(ENGINE, make_interruptible(binary(fields)).data)
    exports = wasmtime.Instance(store, module, []).exports(store)
    memory, fill = exports["m"], exports["f"]
    assert isinstance(memory, wasmtime.Memory)
    assert isinstance(fill, wasmtime.Func)
    fill(store, -2 * CHUNK, 7, 2 * CHUNK)
    assert memory.read(store, 2**32 - 2 * CHUNK - 1, 2**32 - 2 * CHUNK + 2) == b"\0\7\7"
    assert memory.read(store, 2**32 - 2, 2**32) == b"\7\7"
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        fill(store, -2 * CHUNK, 8, 2 * CHUNK + 1)
    assert memory.read(store, 2**32 - 2 * CHUNK, 2**32 - 2 * CHUNK + 1) == b"\7"


def count_epoch_checks(data: bytes) -> int:
    """Calls the function `f` and counts the epoch checks on the way."""
    store = wasmtime.Store(ENGINE)
    checks = 0

    def count(_context: object, _data: object, delta: ctypes._Pointer[ctypes.c_uint64], _kind: object) -> int:
        nonlocal checks
        checks += 1
        delta[0] = 0  # the next check calls back again
        return 0

    callback = EPOCH_CALLBACK(count)
    _bindings.wasmtime_store_epoch_deadline_callback(store.ptr(), callback, None, FINALIZER(0))
    function = wasmtime.Instance(store, wasmtime.Module(ENGINE, data), []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    checks = 0
    function(store)
    return checks


@pytest.mark.parametrize(
    "operation",
    [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const {size}))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const {size}))",
        "(memory.copy (i32.const 1) (i32.const 0) (i32.const {size}))",
        "(memory.copy 0 1 (i32.const 0) (i64.const 1) (i32.const {size}))",
        "(memory.fill 1 (i64.const 0) (i32.const 1) (i64.const {size}))",
    ],
    ids="fill|copy down|copy up|copy 64 to 32|fill 64".split("|"),
)
def test_epochs_are_checked_for_each_chunk(operation: str) -> None:
    def checks(chunks: int) -> int:
        done = operation.format(size=chunks * CHUNK)
        data = binary(f'(memory 65) (memory i64 65) (func (export "f") {done})')
        return count_epoch_checks(make_interruptible(data).data)

    # wasmtime itself has one at the end of a large operation.
    assert checks(16) - checks(6) >= 10


BYTES = "(type $a (array (mut i8)))"
DATA = f'(data "{"x" * 500}")'
OTHERS = [
    (f"(memory 1) {DATA}", "(memory.init 0 (i32.const 0) (i32.const 0) (i32.const 400))"),
    ("(table 500 funcref)", "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 400))"),
    ("(table 500 externref)", "(table.copy (i32.const 0) (i32.const 1) (i32.const 400))"),
    (f"(table 500 funcref) (elem func {'0 ' * 500})", "(table.init 0 (i32.const 0) (i32.const 0) (i32.const 400))"),
    ("(table 9 funcref)", "(drop (table.grow 0 (ref.null func) (i32.const 400)))"),
    (BYTES, "(drop (array.new_default $a (i32.const 400)))"),
    (BYTES, "(drop (array.new $a (i32.const 1) (i32.const 400)))"),
    (BYTES + DATA, "(drop (array.new_data $a 0 (i32.const 0) (i32.const 400)))"),
    (BYTES, "(array.fill $a {array} (i32.const 0) (i32.const 1) (i32.const 400))"),
    (BYTES, "(array.copy $a $a {array} (i32.const 0) {array} (i32.const 1) (i32.const 400))"),
    (BYTES + DATA, "(array.init_data $a 0 {array} (i32.const 0) (i32.const 0) (i32.const 400))"),
]


@pytest.mark.parametrize(("fields", "operation"), OTHERS, ids=[operation for _, operation in OTHERS])
def test_wasmtime_checks_the_epoch_after_other_operations(fields: str, operation: str) -> None:
    # They are not split: one of them does as much as table_elements, the module's size or limits.memory allow.
    operation = operation.format(array="(array.new_default $a (i32.const 500))")
    once, twice = (count_epoch_checks(binary(f'{fields} (func (export "f") {operation * n})')) for n in (1, 2))
    assert twice - once >= (1 + operation.count("$a (i32.const 500)"))


FILL = "(memory.fill (i32.const 0) (i32.const 0) (local.get 0))"


@pytest.mark.parametrize(
    ("fields", "is_complete"),
    [
        ("", True),
        ("(memory 1)", True),
        ("(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1023)))", True),
        ("(func (drop (i32.const 0x5fc)))", True),
        ("(func (drop (i64.const 0x57c0b)) (drop (i32.const 0x57c)))", True),
        ("(type $s (struct (field i32))) (func (drop (struct.new_default $s)))", False),
        *((f"{fields} (func {op.format(array='(ref.null $a)')})", False) for fields, op in OTHERS),
        (f"{BYTES} (global (ref $a) (array.new_default $a (i32.const 9)))", False),
        ("(rec (type $f (func)) (type (sub (array i8))))", False),
    ],
    ids=str,
)
def test_a_module_without_large_operations_on_memory_is_unchanged(fields: str, is_complete: bool) -> None:
    data = binary(fields)
    rewritten = make_interruptible(data)
    assert rewritten.data is data
    assert rewritten.is_complete == is_complete


@pytest.mark.parametrize("cut", [0, 4, 8, 9, 20, -1, -3], ids=str)
def test_a_malformed_module_is_unchanged(cut: int) -> None:
    data = binary(f"(memory 1) (func (param i32) {FILL})")[:cut]
    assert make_interruptible(data) == (data, cut == 8)


@pytest.mark.parametrize("missing", [TYPE, FUNCTION], ids=["types", "functions"])
def test_a_module_with_code_alone_is_unchanged(missing: int) -> None:
    data = binary(f"(memory 1) (func (param i32) {FILL})")
    section = next(section for section in find_sections(data) if section.id == missing)
    without = data[: section.begin] + data[section.end :]
    assert make_interruptible(without) == (without, False)


def test_an_unknown_instruction_leaves_the_module_unchanged() -> None:
    data = binary(f"(memory 1) (func (param i32) {FILL}) (func (param i32) {FILL} nop)").replace(b"\1\x0b", b"\xff\x0b")
    assert make_interruptible(data) == (data, False)


def code(data: bytes) -> bytes:
    """The content of the code section."""
    return next(data[found.content : found.end] for found in find_sections(data) if found.id == CODE)


def custom(data: bytes) -> bytes:
    return data[data.index(b"\4name") :]


def test_no_offset_and_no_index_moves() -> None:
    fields = f"""(import "m" "f" (func $imported)) (memory $memory 1) (table 2 funcref) (start $start)
     (rec (type (func)) (type $unused (func (param f32))))
     (elem (i32.const 0) $start $fills) (export "fills" (func $fills)) (data "x")
     (func $start (call $imported))
     (func $fills (param $n i32) (block (nop) {FILL} (br 0)) (call $start) {FILL}
      (memory.copy (local.get 0) (i32.const 0) (local.get 0)))"""
    data = binary(fields)
    rewritten = make_interruptible(data).data
    wasmtime.Module.validate(ENGINE, rewritten)
    before, after = code(data), code(rewritten)
    calls = before.replace(b"\xfc\x0b\0", b"\x10\x83\0").replace(b"\xfc\x0a\0\0", b"\x10\x84\x80\0")
    assert after[1 : len(before)] == calls[1:]
    assert custom(rewritten) == custom(data)


@pytest.mark.parametrize("functions", [126, 127, 16_383, 16_384])
def test_any_number_of_functions(functions: int) -> None:
    fields = (
        f'(memory (export "a") {SIZE // PAGE}) {"(func)" * functions} (func (export "f") (param i32 i32 i32) {FILL})'
    )
    data = binary(fields)
    rewritten = make_interruptible(data)
    assert rewritten.data != data
    assert rewritten.is_complete
    operands = SIZE, 0, 0
    assert Guest(rewritten.data).call(*operands) == Guest(data).call(*operands)


def test_an_instruction_of_any_length() -> None:
    data = binary(f'(memory (export "a") {SIZE // PAGE}) (func (export "f") (param i32 i32 i32) {FILL} (nop))')
    size = len(code(data)) - 2
    for sub_opcode in (b"\x8b\0", b"\x8b\x80\x80\x80\0"):
        padded = code(data).replace(b"\xfc\x0b\0", b"\xfc" + sub_opcode + b"\x80\x80\0")
        grown = len(padded) - len(code(data))
        padded = padded[:1] + bytes([size + grown]) + padded[2:]
        longer = data.replace(bytes([len(code(data))]) + code(data), bytes([len(padded)]) + padded)
        rewritten = make_interruptible(longer).data
        assert len(code(rewritten)) > len(padded)
        assert Guest(rewritten).call(SIZE, 0, 0) == Guest(data).call(SIZE, 0, 0)


@pytest.mark.parametrize("sample", sorted((ROOT / "samples").glob("*/*.wasm")), ids=lambda path: path.name)
def test_samples_stay_valid(sample: Path) -> None:
    data = sample.read_bytes()
    rewritten = make_interruptible(data)
    assert rewritten.is_complete
    wasmtime.Module.validate(ENGINE, rewritten.data)
    assert rewritten.data is not data or b"\xfc\x0a\0\0" not in code(data)
