"""A guest's input, and guests that cannot run: the same on both backends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import wasmtime
from wagi_gateway.sandbox.pipes import descriptor_path

from tests.support import guests
from tests.support.sandbox import compiler, invocation, run
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.host import HostImport
from wagi_gateway.sandbox.invocation import GuestVolume, Invocation, Outcome, StopReason
from wagi_gateway.sources.file import WasmSource


@pytest.fixture
def pipe() -> Iterator[bytes]:
    """The path of a pipe with room for a small guest's output."""
    reader, writer = os.pipe()
    yield descriptor_path(writer)
    os.close(reader)
    os.close(writer)


def outcome(
    guest: Invocation, stdout: bytes, stderr: bytes, stop_reason: StopReason | None = None
) -> tuple[str, int, str]:
    """Runs a guest on this thread; returns its outcome."""
    context = ExecutionContext(guest)
    context.stop_reason = stop_reason
    ended: Outcome = choose().run(compiler().engine, context, stdout, stderr)
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
        (READS_ALL, {"argv": [b"\xff"]}, ("starved", 0, "the arguments are not UTF-8")),
        (READS_ALL, {"environ": {b"A": b"\xff"}}, ("starved", 0, "the environment is not UTF-8")),
        (guests.HELLO, {"stdin": 999_999}, ("starved", 0, "the spooled request body cannot be opened")),
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
        "returns|exits|instantiated only|no such export|arguments|environment|standard input|volume|trap|initializer"
        "|start function"
    ).split("|"),
)
def test_ends(wat: str, given: dict[str, object], expected: tuple[str, int, str], pipe: bytes) -> None:
    assert outcome(invocation(wat)._replace(**given), pipe, pipe) == expected  # type: ignore[arg-type]


def test_stopped_before_the_start(pipe: bytes) -> None:
    assert outcome(invocation(guests.HELLO), pipe, pipe, "shutdown") == ("stopped", 0, "shutdown")


def test_no_output_to_be_had(pipe: bytes) -> None:
    expected = ("starved", 0, "no descriptor is free for the guest's output")
    assert outcome(invocation(guests.HELLO), b"/absent/file", pipe) == expected
    assert outcome(invocation(guests.HELLO), pipe, b"/absent/file") == expected


def test_a_memory_over_the_limit(pipe: bytes) -> None:
    kind, _, message = outcome(invocation(TOO_LARGE, memory="1MiB"), pipe, pipe)
    assert kind == "failed"
    assert "exceeds memory limits" in message


GATHERS = f"""(module {guests.FD_WRITE} (memory (export "memory") 1)
 (data (i32.const 64) {guests.wat_string("~lib/".encode("utf-16-le"))})
 (data (i32.const 0) "\\20\\00\\00\\00\\03\\00\\00\\00\\23\\00\\00\\00\\03\\00\\00\\00")
 (data (i32.const 32) "onetwo")
 (func $write (param i32 i32 i32 i32)
  (if (i32.ne (call $fd_write (i32.const 1) (local.get 0) (local.get 1) (local.get 2)) (local.get 3))
   (then unreachable)))
 (func (export "_start")
  (call $write (i32.const 0) (i32.const 2) (i32.const 65532) (i32.const 0))
  (call $write (i32.const 0) (i32.const 2) (i32.const 65533) (i32.const 21))
  (call $write (i32.const -8) (i32.const 2) (i32.const 16) (i32.const 21))
  (call $write (i32.const 65536) (i32.const 0) (i32.const 16) (i32.const 0))))"""


def test_a_host_function_and_the_ends_of_memory() -> None:
    module = compiler().load(WasmSource("gathers.wasm", bytes(wasmtime.wat2wasm(GATHERS)), GATHERS))
    output, guest = run(invocation(guests.HELLO)._replace(module=module))
    assert (output, guest.failure()) == (b"onetwo", None)


WITHOUT_MEMORY = """(module (import "host" "has_memory" (func $has_memory (result i32))) (memory 1)
 (func (export "_start") (if (call $has_memory) (then unreachable))))"""
HAS_MEMORY = HostImport("host", "has_memory", 0, lambda _context, memory, _arguments: memory is not None, failed=1)


@pytest.mark.parametrize("exports", ['(export "_start")', '(export "memory") (export "_start")'], ids=["none", "other"])
def test_a_host_function_without_memory(exports: str, pipe: bytes) -> None:
    text = WITHOUT_MEMORY.replace('(export "_start")', exports)
    own = Compiler(compiler().engine, lambda linker, _gathers: choose().define(linker, HAS_MEMORY))
    guest = invocation(guests.HELLO)._replace(module=own.load(WasmSource("guest.wat", text.encode(), text)))
    assert outcome(guest, pipe, pipe) == ("exit", 0, "")
