"""Gathered writes: which modules get them, and what becomes of their code."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
import wasmtime

from tests.conftest import ROOT
from tests.support.guests import FD_WRITE
from tests.support.modules import binary
from tests.support.sandbox import SETTINGS, compiler, core, define, warm
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.engine import create_engine, create_plain_engine
from wagi_gateway.compiler.externs import Externs
from wagi_gateway.compiler.gathered_writes import MEMORY_NAME, gather_writes
from wagi_gateway.errors import StartupError
from wagi_gateway.sources.file import WasmSource

ENGINE = create_plain_engine()
MEMORY = '(memory (export "memory") 1)'
CALL = "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))"
START = f'(func (export "_start") (drop {CALL}))'
GATHERED = f"{FD_WRITE} {MEMORY} {START}"
SAMPLES = [
    ROOT / "benchmarks" / "guests" / "variables.wasm",
    ROOT / "samples" / "c" / "env.wasm",
    ROOT / "samples" / "assemblyscript" / "routes.wasm",
]


def is_valid(data: bytes) -> bool:
    try:
        wasmtime.Module.validate(ENGINE, data)
    except wasmtime.WasmtimeError:
        return False
    return True


@pytest.mark.parametrize(
    "fields",
    [
        GATHERED,
        f'(import "a" "b" (func)) {FD_WRITE} {MEMORY} {START}',
        f'{FD_WRITE} {MEMORY} (func (export "_start") (result i32) (return_{CALL[1:]})',
        f'{FD_WRITE} {MEMORY} {START} (export "write" (func $fd_write))',
        f"{FD_WRITE} {MEMORY} {START} (table 1 funcref) (elem (i32.const 0) $fd_write)",
        f"{FD_WRITE} {MEMORY} {START} (start 1)",
        f"{FD_WRITE} {MEMORY} {START} {'(func)' * 200}",
    ],
    ids=["first import", "second import", "tail call", "export", "table", "start", "an index of two bytes"],
)
def test_a_module_gets_a_memory_and_a_function(fields: str) -> None:
    data = binary(fields)
    gathered = gather_writes(data)
    assert gathered
    wasmtime.Module(ENGINE, gathered)
    before, after = Externs.read(data), Externs.read(gathered)
    assert after.imports == before.imports
    assert after.exports[:-1] == before.exports
    assert after.exports[-1].name == MEMORY_NAME
    assert after.memories[:-1] == before.memories


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_modules_of_compilers(path: Path) -> None:
    gathered = gather_writes(path.read_bytes())
    assert gathered
    assert is_valid(gathered)


NOT_GATHERED = {
    "no import": f'{MEMORY} (func (export "_start"))',
    "no call": f'{FD_WRITE} {MEMORY} (func (export "_start"))',
    "no function": f"{FD_WRITE} {MEMORY}",
    "a call by table alone": f"""{FD_WRITE} {MEMORY} (table 1 funcref) (elem (i32.const 0) $fd_write)
     (type $t (func (param i32 i32 i32 i32) (result i32))) (func (export "_start")
     (drop (call_indirect (type $t) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 0))))""",
    "the number of the call in a constant": f"{FD_WRITE} {MEMORY} (func (drop (i32.const 0x10)) (drop (i32.const 0)))",
    "two memories": f"{FD_WRITE} {MEMORY} (memory 1) {START}",
    "no memory": f"{FD_WRITE} {START}",
    "an imported memory": f'(import "a" "m" (memory 1)) {FD_WRITE} {START}',
    "a 64-bit memory": f'{FD_WRITE} (memory (export "memory") i64 1) {START}',
    "the name of the memory": f'{FD_WRITE} {MEMORY} {START} (func (export "{MEMORY_NAME}"))',
    "two imports of it": f"{FD_WRITE} {FD_WRITE.replace('$fd_write', '$b')} {MEMORY} {START}",
    "another module's": f"{FD_WRITE.replace('_preview1', '_unstable')} {MEMORY} {START}",
    "another signature": f"""(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32)))
     {MEMORY} (func (export "_start") (call $fd_write (i32.const 1)))""",
}


@pytest.mark.parametrize("fields", NOT_GATHERED.values(), ids=NOT_GATHERED)
def test_a_module_without(fields: str) -> None:
    assert gather_writes(binary(fields)) is None


def test_a_truncated_module_is_valid_where_it_was() -> None:
    data = binary(GATHERED)
    for size in range(len(data)):
        if (gathered := gather_writes(data[:size])) and is_valid(data[:size]):
            assert is_valid(gathered)


def test_a_valid_module_stays_valid_with_any_bytes_changed() -> None:
    choice = random.Random(19)
    data = binary(f"{GATHERED} (func (param i32) (result i32) (i32.add (local.get 0) (i32.const 16)) br_table 0 0)")
    valid = 0
    for _ in range(4000):
        changed = bytearray(data)
        for _ in range(choice.randint(1, 3)):
            changed[choice.randrange(8, len(data))] = choice.choice((0, 1, 2, 0x10, 0x12, 0x41, 0x7F, 0x80, 0xFC))
        if is_valid(bytes(changed)) and (gathered := gather_writes(bytes(changed))):
            valid += 1
            assert is_valid(gathered)
    assert valid > 10


def source(fields: str) -> WasmSource:
    data = binary(fields)
    return WasmSource("guest.wasm", data, "guest.wasm")


OF_THE_SECOND_MEMORY = {
    "load": f"{FD_WRITE} {MEMORY} (memory $m 1) {START} (func (drop (i32.load $m (i32.const 0))))",
    "copy": f"""{FD_WRITE} {MEMORY} (memory $m 1) {START}
     (func (memory.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 1)))""",
    "size": f"{FD_WRITE} {MEMORY} (memory $m 1) {START} (func (drop (memory.size $m)))",
    "data": f'{FD_WRITE} {MEMORY} (memory $m 1) {START} (data (memory $m) (i32.const 0) "a")',
}


@pytest.mark.parametrize("fields", OF_THE_SECOND_MEMORY.values(), ids=OF_THE_SECOND_MEMORY)
def test_a_module_that_names_the_memory_it_would_get_is_refused(fields: str) -> None:
    two = binary(fields)
    one = two.replace(b"\x05\x05\x02\x00\x01\x00\x01", b"\x05\x03\x01\x00\x01")  # the section of memories
    assert len(one) < len(two)
    assert gather_writes(one) is not None  # so it must not be asked for a module that is not valid
    with pytest.raises(StartupError, match="memory"):
        compiler().load(WasmSource("guest.wasm", one, "guest.wasm"))


def test_what_is_loaded_shows_nothing_of_it() -> None:
    module = warm(f"(module {GATHERED})")
    assert module.gathering
    assert module.memories == 1
    assert module.exports == ("_start",)
    assert MEMORY_NAME not in [export.name for export in module.module.exports]


def test_modules_whose_guests_never_run_inline_have_none() -> None:
    assert warm(f"(module {GATHERED})", has_files=True).gathering is None
    outbound = '(import "wasi_experimental_http" "close" (func (param i32) (result i32)))'
    assert warm(f"(module {outbound} {GATHERED})").gathering is None


def test_modules_with_source_lines_have_none() -> None:
    engine, _ = create_engine(dataclasses.replace(SETTINGS, has_source_lines=True))
    lines = Compiler(engine, define, has_source_lines=True)
    assert core(lines.load(source(GATHERED))).gathering is None
