"""The compiler: modules loaded once, refused with a reason, cached, and described for the sandbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import wasmtime

from tests.conftest import OTHER_RELEASE
from tests.support.modules import DISABLED, LOADED, UNDESCRIBED, binary, started
from tests.support.sandbox import core
from wagi_gateway.compiler import abi
from wagi_gateway.compiler.cache import ArtefactCache
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.engine import EngineSettings, create_engine, create_plain_engine
from wagi_gateway.errors import StartupError
from wagi_gateway.sources.file import WasmSource

EMPTY = '(module (func (export "_start")))'
WASI = '(import "wasi_snapshot_preview1" "{}" (func {}))'


def source(text: str | bytes, name: str = "guest.wat") -> WasmSource:
    data = text.encode() if isinstance(text, str) else text
    return WasmSource(name, data, hashlib.sha256(data).hexdigest())


def define_host(linker: wasmtime.Linker, has_files: bool, _names: object = None) -> None:
    """A host function, and another one for guests with files."""
    linker.define_func("host", "call", wasmtime.FuncType([], []), lambda: None)
    if has_files:
        linker.define_func("host", "on_files", wasmtime.FuncType([], []), lambda: None)


def compiler(cache: ArtefactCache | None = None, **options: object) -> Compiler:
    return Compiler(create_plain_engine(), define_host, cache, **options)  # type: ignore[arg-type]


def test_a_module_is_loaded_once() -> None:
    own = compiler()
    module = own.load(source(EMPTY))
    assert own.load(source(EMPTY)) is module
    assert own.loads == {"compiler": 1}


def test_a_module_of_the_previous_compiler_is_used_again() -> None:
    first = compiler()
    kept, dropped = first.load(source(EMPTY)), first.load(source(f"{EMPTY};; other"))
    second = Compiler(first.engine, define_host, previous=first)
    assert second.load(source(EMPTY)) is kept
    second.drop_previous()
    assert second.load(source(EMPTY)) is kept
    assert second.load(source(f"{EMPTY};; other")) is not dropped
    assert second.loads == {"compiler": 1}


def test_an_artefact_is_stored_and_loaded(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    first, second = compiler(cache), compiler(cache)
    first.load(source(EMPTY))
    second.load(source(EMPTY))
    assert (first.loads, second.loads) == ({"compiler": 1}, {"cache": 1})
    assert first.warnings == second.warnings == []


def test_artefacts_with_and_without_source_lines_lie_side_by_side(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    for expected in ({"compiler": 1}, {"cache": 1}):
        for has_source_lines in (False, True):
            engine = create_plain_engine(has_source_lines=has_source_lines)
            own = Compiler(engine, define_host, cache, has_source_lines=has_source_lines)
            own.load(source(EMPTY))
            assert (own.loads, own.warnings) == (expected, [])


@pytest.mark.parametrize("is_valid", [False, True], ids=["changed", "foreign"])
def test_an_artefact_that_cannot_be_used_is_compiled_again(tmp_path: Path, is_valid: bool) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    compiler(cache).load(source(EMPTY))
    (artefact,) = (tmp_path / "cache").glob("*.cwasm")
    if is_valid:
        cache.store(artefact.stem, b"no machine code")
    else:
        artefact.write_bytes(b"no machine code")
    own = compiler(cache)
    own.load(source(EMPTY))
    assert own.loads == {"compiler": 1}
    (warning, *_) = own.warnings
    assert "compiled again" in warning
    assert compiler(cache).load(source(EMPTY)).name == "guest.wat"


def test_a_compilation_is_announced() -> None:
    steps: list[str] = []

    @contextmanager
    def on_compile(compiled: WasmSource) -> Iterator[None]:
        steps.append(f"begin {compiled.name}")
        yield
        steps.append("end")

    own = compiler(on_compile=on_compile)
    own.load(source(EMPTY))
    own.load(source(EMPTY))
    assert steps == ["begin guest.wat", "end"]


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"\0asm\x0d\x00\x01\x00", "guest.wasm", "exports no wasi:cli/run of WASI 0.2, so there is nothing to call"),
        (b"#!/bin/sh", "guest.wasm", "is not a WebAssembly module; name a .wasm or .wat file"),
        (b"", "guest.wasm", "is not a WebAssembly module"),
        (b"(module", "guest.wat", "does not compile: line 1, column 8: expected `)`"),
        (b"\0asm\x01\x00\x00\x00garbage", "guest.wasm", "does not compile: "),
        (b'(module (import "env" "f" (func)))', "guest.wat", "imports env.f, which this gateway does not provide"),
        (
            b'(module (import "host" "call" (func (param i32))))',
            "guest.wat",
            "imports host.call with another signature than this gateway provides",
        ),
        (b'(module (import "host" "call" (memory 1)))', "guest.wat", "imports host.call with another signature"),
    ],
    ids=["component", "script", "empty", "text", "binary", "import", "signature", "kind"],
)
def test_a_module_is_refused(data: bytes, name: str, reason: str) -> None:
    with pytest.raises(StartupError) as raised:
        compiler().load(source(data, name))
    (problem,) = raised.value.problems
    assert problem.what.startswith(reason)
    assert "\n" not in problem.what


def test_every_import_is_refused_at_once() -> None:
    text = '(module (import "a" "b" (func)) (import "c" "d" (func)))'
    with pytest.raises(StartupError) as raised:
        compiler().load(source(text))
    assert [problem.what.split(",")[0] for problem in raised.value.problems] == ["imports a.b", "imports c.d"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ('(import "gojs" "f" (func)) (func (export "_start"))', "imports gojs.f.* GOOS=wasip1"),
        ('(func (export "main") (param i32 i32) (result i32) i32.const 0)', "exports no .* not for wasm32-unknown-un"),
        ('(memory (export "memory") 1)', "exports no function without parameters"),
    ],
    ids=["import", "no program", "no function"],
)
def test_a_module_for_another_host_is_refused_before_its_compilation(fields: str, reason: str) -> None:
    own = compiler()
    with pytest.raises(StartupError, match=reason):
        own.load(source(f"(module {fields})"), needs_entrypoint=True)
    assert not own.loads


def test_the_number_of_imports_is_bounded() -> None:
    call = '(import "host" "call" (func))'
    assert compiler().load(source(f"(module {call * 1000})"))
    with pytest.raises(StartupError, match=r"^has 1001 imports, more than 1000$"):
        compiler().load(source(f"(module {call * 1001})"))


def test_the_problems_of_imports_are_bounded() -> None:
    with pytest.raises(StartupError) as raised:
        compiler().load(source(f"""(module {'(import "host" "call" (func (param i32)))' * 300})"""))
    assert len(raised.value.problems) == 100


@pytest.mark.parametrize(("fields", "where", "what"), UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_a_type_that_would_end_the_process_is_refused(fields: str, where: str, what: str) -> None:
    own = compiler()
    with pytest.raises(StartupError) as raised:
        own.load(source(binary(fields)))
    assert raised.value.problems[0].what.startswith(f"{where}: has {what}")
    assert not own.loads


@pytest.mark.parametrize(
    "fields",
    ['(import "a" "b" (func (param v128)))', '(func (export "f") (param v128))'],
    ids=["import", "export"],
)
def test_a_type_that_would_end_the_process_is_refused_before_its_artefact_is_loaded(
    tmp_path: Path, fields: str
) -> None:
    """An earlier release may have compiled it."""
    cache = ArtefactCache(tmp_path / "cache")
    compiler(cache).load(source(EMPTY))
    (artefact,) = (tmp_path / "cache").glob("*.cwasm")
    strange = source(binary(fields))
    key = artefact.stem.replace(source(EMPTY).digest, strange.digest)
    own = compiler(cache)
    cache.store(key, wasmtime.Module(own.engine, strange.data).serialize())
    with pytest.raises(StartupError, match="type v128"):
        own.load(strange)
    assert not own.loads


@pytest.mark.parametrize("fields", LOADED.values(), ids=LOADED)
def test_other_types_are_loaded(fields: str) -> None:
    assert compiler().load(source(binary(started(fields)))).functions >= {"_start"}


@pytest.mark.parametrize("fields", DISABLED.values(), ids=DISABLED)
def test_types_of_disabled_proposals_are_refused_in_wasmtimes_words(fields: str) -> None:
    with pytest.raises(StartupError, match=r"^does not compile: [^\n]+$"):
        compiler().load(source(binary(fields)))


@pytest.mark.parametrize(
    "fields",
    ["(memory 1 2 shared)", '(import "env" "memory" (memory 1 2 shared))', "(memory 1) (memory i64 1 2 shared)"],
    ids=["own", "imported", "the second, of 64 bits"],
)
def test_a_shared_memory_is_refused(fields: str) -> None:
    with pytest.raises(StartupError, match=r"^needs threads, which guests do not have: its memory"):
        compiler().load(source(binary(fields)))


FD_WRITE = WASI.format("fd_write", "(param i32 i32 i32 i32) (result i32)")


@pytest.mark.parametrize(
    ("fields", "needing"),
    [
        (FD_WRITE, "fd_write"),
        (f"{FD_WRITE} (memory 1)", "fd_write"),
        (f'{FD_WRITE} (memory (export "mem") 1)', "fd_write"),
        (f'{FD_WRITE} (memory 1) (func (export "memory"))', "fd_write"),
        (WASI.format("sched_yield", "(result i32)"), "sched_yield"),
        (WASI.format("proc_exit", "(param i32)"), "proc_exit"),
    ],
    ids="none|not exported|another name|another kind|no address|no result".split("|"),
)
def test_wasi_needs_an_exported_memory(fields: str, needing: str) -> None:
    expected = f'^exports no memory with the name "memory", which wasi_snapshot_preview1.{needing} needs; export it$'
    with pytest.raises(StartupError, match=expected):
        compiler().load(source(f"(module {fields})"))


@pytest.mark.parametrize("wanted", [FD_WRITE, '(import "host" "call" (func))'], ids=["WASI", "host"])
def test_a_memory_with_64_bit_addresses_is_refused(wanted: str) -> None:
    with pytest.raises(StartupError, match=r"^exports a memory with 64-bit addresses, and .* has 32-bit ones"):
        compiler().load(source(f'(module {wanted} (memory (export "memory") i64 1))'))


@pytest.mark.parametrize(
    "fields",
    [
        "",
        '(import "host" "call" (func))',
        f'{FD_WRITE} (memory (export "memory") 1)',
        f'{FD_WRITE} (memory 1) (memory (export "m") (export "memory") 1)',
    ],
    ids="no import|another import|exported|the second".split("|"),
)
def test_a_memory_that_is_exported_or_not_needed(fields: str) -> None:
    assert compiler().load(source(f"(module {fields})"))


def test_wasi_of_2019_is_refused_once() -> None:
    wasi = FD_WRITE.replace("snapshot_preview1", "unstable")
    with pytest.raises(StartupError) as raised:
        compiler().load(source(f"(module {wasi} {wasi.replace('fd_write', 'fd_pwrite')})"))
    (problem,) = raised.value.problems
    assert problem.what.startswith(
        "imports wasi_unstable.fd_write and 1 more of wasi_unstable, which this gateway does"
    )
    assert problem.what.endswith("rebuild it for wasm32-wasip1")


@pytest.mark.skipif(not abi.has_known_abi(), reason="the pool is for the release that the hot path is written for")
def test_a_module_over_the_pools_limits_is_refused_with_the_settings() -> None:
    engine, _ = create_engine(EngineSettings(slots=1, max_memory=2**16, memories=1, tables=1, table_elements=10))
    with pytest.raises(StartupError, match=r"needs more than its limits allow \(.*\); raise memory, memories"):
        Compiler(engine, define_host).load(source("(module (memory 2))"))


def test_what_a_module_exports_and_imports() -> None:
    text = f"""(module {WASI.format("args_get", "(param i32 i32) (result i32)")} (import "host" "call" (func))
     (func (export "_start")) (func (export "_initialize")) (func (export "add") (param i32) (result i32) unreachable)
     (memory (export "memory") 1))"""
    module = core(compiler().load(source(text)))
    assert module.functions == {"_start", "_initialize"}
    assert module.exports == ("_start", "_initialize", "add")
    assert module.is_reactor
    assert module.imports == {"wasi_snapshot_preview1", "host"}
    assert module.import_names == (("wasi_snapshot_preview1", "args_get"), ("host", "call"))


TWO = "(param i32 i32) (result i32)"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", True),
        (WASI.format("environ_get", TWO), True),
        (WASI.format("random_get", TWO), True),
        (WASI.format("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"), True),
        ('(import "host" "call" (func))', False),
        (f"(func {'nop ' * 100_000})", True),
        (f"(func {'nop ' * 132_000})", False),
        ("(func (param i32) (memory.fill (i32.const 0) (i32.const 0) (local.get 0)))", True),
        ("(table 9 funcref) (func (table.copy (i32.const 0) (i32.const 1) (i32.const 8)))", False),
        ("(type $a (array (mut i8))) (func (drop (array.new_default $a (i32.const 9))))", False),
    ],
    ids=["none", "wasi", "random", "poll", "host", "short", "long", "memory.fill", "table.copy", "array.new"],
)
def test_is_interruptible(fields: str, expected: bool) -> None:
    text = f'(module {fields} (memory (export "memory") 1))'
    assert compiler().load(source(text)).is_interruptible == expected


def test_a_guest_with_files_is_linked_with_other_functions() -> None:
    own = compiler()
    needs_it = source('(module (import "host" "on_files" (func)))')
    assert not own.load(needs_it, has_files=True).is_interruptible
    with pytest.raises(StartupError, match=r"imports host\.on_files, which this gateway does not provide"):
        own.load(needs_it)


def test_a_module_with_and_without_files() -> None:
    own, either = compiler(), source(f'(module {WASI.format("args_get", TWO)} (memory (export "memory") 1))')
    plain, with_files = core(own.load(either)), core(own.load(either, has_files=True))
    assert (plain.is_interruptible, with_files.is_interruptible) == (True, False)
    assert (plain.instance_pre is None, with_files.instance_pre is None) == (False, True)
    assert (own.load(either), own.load(either, has_files=True)) == (plain, with_files)


def test_another_release_serializes_modules_for_engines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert core(compiler().load(source(EMPTY))).serialized is None
    monkeypatch.setattr(abi, "WASMTIME_VERSION", OTHER_RELEASE)
    serialized = core(compiler().load(source(EMPTY))).serialized
    assert serialized
    for _ in range(2):
        store = wasmtime.Store(create_plain_engine())
        assert "_start" in serialized.instantiate(store).exports(store)
