"""A guest's input, and guests that cannot run: the same on both backends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, invocation, run, warm
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.host import HostImport
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation, Outcome, StopReason
from wagi_gateway.sources.file import WasmSource


def outcome(guest: Invocation, stop_reason: StopReason | None = None) -> tuple[str, int, str]:
    """Runs a guest on this thread; returns its outcome."""
    context = ExecutionContext(guest)
    context.stop_reason = stop_reason
    ended: Outcome = choose().run(compiler().engine, context)
    return ended.kind, ended.code, ended.trap


def test_the_path_is_the_one_that_the_version_allows(path: str) -> None:
    modules = {"hot": "wagi_gateway.sandbox.capi", "public": "wagi_gateway.sandbox.public"}
    assert choose().run.__module__ == modules[path]


REACTOR = '(module (memory (export "memory") 1) (func (export "_initialize") unreachable) (func (export "_start")))'
BAD_START = '(module (memory (export "memory") 1) (func $s unreachable) (start $s) (func (export "_start")))'
READS_ALL = """(module
 (import "wasi_snapshot_preview1" "args_sizes_get" (func (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "environ_sizes_get" (func (param i32 i32) (result i32)))
 (memory (export "memory") 1) (func (export "_start")))"""
ABSENT = (GuestVolume(b"/absent", b"/v", True),)
TOO_LARGE = '(module (memory (export "memory") 1000) (func (export "_start")))'


@pytest.mark.parametrize(
    ("wat", "given", "expected"),
    [
        (guests.HELLO, {}, ("exit", 0, "")),
        (guests.exits(7), {}, ("exit", 7, "")),
        (guests.HELLO, {"entrypoint": None}, ("exit", 0, "")),
        (guests.HELLO, {"entrypoint": b"absent"}, ("failed", 0, "there is no export absent")),
        (READS_ALL, {"argv": [b"\xff"]}, ("exit", 0, "")),
        (READS_ALL, {"environ": {b"A": b"\xff"}}, ("exit", 0, "")),
        (guests.HELLO, {"stdin": 999_999}, ("exit", 0, "")),
        (
            guests.HELLO,
            {"volumes": ABSENT},
            ("starved", 0, "the volume /v cannot be opened"),
        ),
        (guests.TRAP, {}, ("trap", 0, "wasm `unreachable` instruction executed")),
        (REACTOR, {}, ("trap", 0, "wasm `unreachable` instruction executed")),
        (BAD_START, {"entrypoint": None}, ("trap", 0, "wasm `unreachable` instruction executed")),
    ],
    ids=(
        "returns|exits|instantiated only|no such export|arguments are not UTF-8|environment is not UTF-8"
        "|standard input is gone|volume|trap|initializer|start function"
    ).split("|"),
)
def test_ends(wat: str, given: dict[str, object], expected: tuple[str, int, str]) -> None:
    assert outcome(replace(invocation(wat), **given)) == expected  # type: ignore[arg-type]


def test_stopped_before_the_start() -> None:
    assert outcome(invocation(guests.HELLO), "shutdown") == ("stopped", 0, "shutdown")


def test_a_memory_over_the_limit() -> None:
    kind, _, message = outcome(invocation(TOO_LARGE, memory="1MiB"))
    assert kind == "failed"
    assert "exceeds memory limits" in message


WITHOUT_MEMORY = """(module (import "host" "has_memory" (func $has_memory (result i32))) (memory 1)
 (func (export "_start") (if (call $has_memory) (then unreachable))))"""
HAS_MEMORY = HostImport("host", "has_memory", "", lambda context: context.memory is not None, failed=1)


@pytest.mark.parametrize("exports", ['(export "_start")', '(export "memory") (export "_start")'], ids=["none", "other"])
def test_a_host_function_without_memory(exports: str) -> None:
    text = WITHOUT_MEMORY.replace('(export "_start")', exports)
    own = Compiler(compiler().engine, lambda linker, _has_files, _names: choose().define(linker, HAS_MEMORY))
    guest = replace(invocation(guests.HELLO), module=own.load(WasmSource("guest.wat", text.encode(), text)))
    assert outcome(guest) == ("exit", 0, "")


TYPES = ("i32", "i64", "f32", "f64", "funcref", "externref")
CALLED = f"""(module (import "a b" "f(x)" (func $f (param {" ".join(TYPES)}) (result i32 f64)))
 (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (import "a" "b f(x)" (func $other)) (memory (export "memory") 1)
 (data (i32.const 0) "\\08\\00\\00\\00\\02\\00\\00\\00ok")
 (func $run (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
 (func (export "_start") (call $run)
  (call $f (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (ref.null func) (ref.null extern)) drop drop)
 (func (export "nothing") (call $run)) (func (export "other") (call $other)))"""


@pytest.mark.parametrize("has_files", [False, True], ids=["without files", "with files"])
@pytest.mark.parametrize(
    ("entrypoint", "output", "failure"),
    [
        (b"nothing", b"ok", None),
        (b"_start", b"ok", "trap: call of a missing import (a b.f(x))"),
        (b"other", b"", "trap: call of a missing import (a.b f(x))"),
    ],
)
def test_a_call_of_a_missing_import_traps(
    tmp_path: Path, has_files: bool, entrypoint: bytes, output: bytes, failure: str | None
) -> None:
    module = warm(CALLED, has_files=has_files, allows_missing=True)
    volumes = (GuestVolume(bytes(tmp_path), b"/", is_writable=True),) if has_files else ()
    given = Invocation(module, entrypoint, limits=Limits(), argv=[], environ={}, volumes=volumes)
    for _ in range(2):
        printed, guest = run(given)
        assert (printed, guest.failure()) == (output, failure)
        assert guest.outcome
        assert guest.outcome.trap == ("call of a missing import" if failure else "")
    assert module.is_interruptible != has_files
