"""Which components are served, and what is wrong with the others, on one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.components import RUN, bare
from tests.support.sandbox import compiler
from wagi_gateway.compiler import abi
from wagi_gateway.compiler.cache import ArtefactCache
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.component import WarmComponent
from wagi_gateway.compiler.engine import create_plain_engine
from wagi_gateway.errors import StartupError
from wagi_gateway.sources.file import WasmSource

EMPTY_RUN = RUN.replace('(export "run" (func $main))', "")
MANY_INSTANCES = "(core module $m)" + "(core instance (instantiate $m))" * 40
IMPORT = '(import "{}" (instance))'


def importing(*names: str) -> str:
    return bare(more=" ".join(map(IMPORT.format, names)))


def load(wat: str) -> object:
    return compiler().load(WasmSource("guest.wat", wat.encode(), wat), needs_entrypoint=True)


@pytest.mark.parametrize("version", ["0.2.0", "0.2.6", "0.2.12", "0.2.99"])
def test_a_command_of_any_wasi_0_2_is_loaded(version: str) -> None:
    warm = load(bare().replace("wasi:cli/run@0.2.0", f"wasi:cli/run@{version}"))
    assert isinstance(warm, WarmComponent)
    assert warm.functions == {"_start"}


@pytest.mark.parametrize(
    ("wat", "what"),
    [
        (importing("wasi:http/types@0.2.0", "wasi:http/outgoing-handler@0.2.0"), "imports wasi:http/types@0.2.0 and 1"),
        (importing("wasi:http/types@0.2.0"), "--disable http"),
        (importing("wasi:keyvalue/store@0.2.0"), "needs a proposal of WASI"),
        (importing("wasi:clocks/timezone@0.2.0"), "needs a proposal of WASI"),
        (importing("wasi:cli/stdout@0.3.0"), "is a component for WASI 0.3, with wasi:cli/stdout@0.3.0"),
        (importing("fermyon:spin/key-value@2.0.0"), "imports fermyon:spin/key-value, which"),
        (importing("spin:postgres/postgres@3.0.0"), "interfaces of its own host"),
        (importing("my:own/thing"), "compose it with the rest"),
        (bare(more='(import "log" (func))'), "imports log, which this gateway does not provide"),
        (bare().replace("cli/run@0.2.0", "cli/run@0.3.0"), "is a component for WASI 0.3, with wasi:cli/run@0.3.0"),
        (bare().replace("cli/run@0.2.0", "http/incoming-handler@0.2.0"), "it is for `wasmtime serve`"),
        (bare().replace("wasi:cli/run@0.2.0", "my:own/run@0.2.0"), "exports no wasi:cli/run of WASI 0.2"),
        ("(component)", "exports no wasi:cli/run of WASI 0.2"),
        (bare().replace(RUN, EMPTY_RUN), "has no function run"),
        (bare("i32.add"), "does not compile: "),
        (bare(more=MANY_INSTANCES), "has too many parts: The component transitively contains 41 core module instances"),
    ],
    ids=[
        *("http", "javascript", "keyvalue", "clock", "0.3", "spin 2", "spin 3", "part", "func", "run 0.3", "proxy"),
        *("own", "empty", "no run", "code", "instances"),
    ],
)
def test_a_component_is_refused_on_one_line(wat: str, what: str) -> None:
    with pytest.raises(StartupError) as raised:
        load(wat)
    (problem,) = raised.value.problems
    assert what in problem.what
    assert "\n" not in problem.what


def test_a_component_that_cannot_be_read_is_refused() -> None:
    data = b"\0asm\x0d\0\1\0\x0a\x7f"
    with pytest.raises(StartupError, match=r"is a component that cannot be read: "):
        compiler().load(WasmSource("guest.wasm", data, "malformed"))


def test_types_of_wasi_0_3_are_refused() -> None:
    with pytest.raises(StartupError, match="does not compile"):
        load(bare(more="(type (stream u8))"))


def test_a_component_needs_the_release_with_the_known_abi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "WASMTIME_VERSION", "1.0.0")
    with pytest.raises(StartupError, match=r"another release is needed: wasmtime 1\.0\.0 is installed"):
        load(bare("(nop)"))


def test_a_component_is_compiled_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    wat = bare(fields="(memory 1) (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)))")
    source = WasmSource("guest.wat", wat.encode(), "0" * 64)
    origins = []
    for _ in range(2):
        own = Compiler(create_plain_engine(), lambda *_: None, ArtefactCache(tmp_path / "cache"))
        own.load(source)
        origins.append(dict(own.loads))
        own.close()
    assert origins == [{"compiler": 1}, {"cache": 1}]
