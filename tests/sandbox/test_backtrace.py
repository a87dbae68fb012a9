"""wasmtime's text of a trap: its cause, its frames, and their bounds."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.support import guests
from tests.support.sandbox import SETTINGS, define, invocation, run
from wagi_gateway.compiler import abi
from wagi_gateway.compiler.compiler import Compiler
from wagi_gateway.compiler.engine import create_engine
from wagi_gateway.config.settings import Limits
from wagi_gateway.sandbox.backtrace import MAX_FRAMES, Frame, describe, parse
from wagi_gateway.sandbox.guest import Guest
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.sources.file import WasmSource

BEGIN = "error while executing at wasm backtrace:\n"
FAULT = "memory fault at wasm address 0xfffff000 in linear memory of size 0x20000"
UNREACHABLE = "\n\nCaused by:\n    wasm trap: unreachable"
WITH_LINES = f"""{BEGIN}    0:    0x1c9 - index
                    at /src/table.c:12:9
                - lookup
                    at /src/table.c:20
    1:   0x12f0 - a!=b
                    at /src/with:colon.c
    2:   0x22f0 - <unknown>!main::run::h0123456789abcdef
note: using the `WASMTIME_BACKTRACE_DETAILS=1` environment variable may show more debugging information

Caused by:
    0: {FAULT}
    1: wasm trap: out of bounds memory access"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            WITH_LINES,
            f"out of bounds memory access ({FAULT})",
        ),
        (f"{BEGIN}    0: 0x1 - m!f{UNREACHABLE}", "unreachable"),
        (f"{BEGIN}    0: 0x1 - m!f\n\nCaused by:\n    out of fuel", "out of fuel"),
        (f"{BEGIN}    0: 0x1 - m!f\n\nCaused by:\n    forged{UNREACHABLE}", "unreachable"),
        ("wasm trap: interrupt", "interrupt"),
        ("incompatible import\n\nCaused by:\n    types differ", "incompatible import: types differ"),
        ("", ""),
    ],
    ids="fault|trap|other error|forged cause|no frames|no backtrace|nothing".split("|"),
)
def test_the_cause(text: str, cause: str) -> None:
    assert parse(text).cause == cause


def test_frames() -> None:
    assert parse(WITH_LINES).frames == (
        Frame("index", "/src/table.c", 12, 9, is_inlined=True),
        Frame("lookup", "/src/table.c", 20),
        Frame("a!=b", "/src/with:colon.c"),
        Frame("main::run"),
    )


LINES = [f"{number:>5}: 0x1 - m!f{number}" for number in range(10_000)]
INLINED = ["    0: 0x1 - f", *["              - f\n                    at f.c:1:1"] * 10_000]


@pytest.mark.parametrize("lines", [LINES, INLINED], ids=["frames", "inlined"])
def test_the_number_of_frames_is_bounded(lines: list[str]) -> None:
    assert len(parse(BEGIN + "\n".join(lines) + UNREACHABLE).frames) == MAX_FRAMES


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("    0: 0x1 - m!" + "n" * 1024, Frame("n" * 160 + "…")),
        (
            "    0: 0x1 - f\n                    at " + "p" * 9999 + ":1:" + "9" * 99,
            Frame("f", "p" * 4096, 1, 999999999),
        ),
        ("    0: m!float", Frame("f")),
        ("    0: float", Frame("f")),
        ("    0: 0x1 - m!main[0123456789abcdef]::run", Frame("main::run")),
        ("    0: 0x1 - m!a\nb", Frame("a")),
        ("                    at f.c:1:1\n    0: 0x1 - !", Frame("!")),
    ],
    ids="name|path and column|type of C++|type of C++ without module|Rust|line feed|place without a frame".split("|"),
)
def test_a_frame_of_a_hostile_module(line: str, frame: Frame) -> None:
    assert parse(BEGIN + line + UNREACHABLE).frames == (frame,)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["<wasm function 1>", "<wasm function 2>"], ""),
        (["walk"], "in walk"),
        (["<wasm function 1>", "walk", "main"], "in <wasm function 1>, called by walk, main"),
        (["again"] * 20 + ["main"], "in again (20 times), called by main"),
    ],
    ids="none|no names|one|some names|recursion".split("|"),
)
def test_the_functions_in_words(names: list[str], text: str) -> None:
    assert describe([Frame(name) for name in names]) == text


IN_FUNCTIONS = """(module $m (memory (export "memory") 1)
 (func $inner {instructions}) (func $outer (call $inner)) (func $main (export "_start") (call $outer)))"""


@pytest.mark.parametrize(
    ("instructions", "limits", "failure"),
    [
        ("unreachable", {}, "trap: wasm `unreachable` instruction executed"),
        ("(drop (i32.load (i32.const -16)))", {}, "trap: out of bounds memory access (memory fault at wasm address"),
        ("(loop (br 0))", {"time": 0.3}, "the guest ran into limits.time (0.3 s)"),
    ],
    ids=["trap", "fault", "limits.time"],
)
def test_where_a_guest_has_ended(instructions: str, limits: dict[str, object], failure: str) -> None:
    given = replace(invocation(IN_FUNCTIONS.format(instructions=instructions)), limits=Limits.model_validate(limits))
    _, guest = run(given)
    assert str(guest.failure()).startswith(failure)
    assert guest.circumstances() == "; in inner, called by outer, main"


def test_a_stack_overflow_has_few_frames() -> None:
    _, guest = run(invocation(guests.STACK_OVERFLOW))
    assert guest.failure() == "trap: call stack exhausted"
    assert guest.circumstances().startswith("; in again (")
    assert len(guest.outcome.frames if guest.outcome else ()) <= MAX_FRAMES


CRASH = ROOT / "tests" / "support" / "crash.wasm"
"""The module of crash.c, in the same folder."""


@functools.cache
def crashing(_is_hot: bool, *, has_source_lines: bool) -> Compiler:
    """A compiler of the test's backend."""
    engine, _ = create_engine(replace(SETTINGS, has_source_lines=has_source_lines))
    return Compiler(engine, define, has_source_lines=has_source_lines)


def crash(how: str, *, has_source_lines: bool, **limits: object) -> Guest:
    """Runs crash.c with an argument."""
    compiler = crashing(abi.has_known_abi(), has_source_lines=has_source_lines)
    module = compiler.load(WasmSource("crash.wasm", CRASH.read_bytes(), "crash"))
    given = Invocation(module, b"_start", Limits.model_validate(limits), [b"/", how.encode()], {})
    return run(given, compiler.engine)[1]


def line_of(text: str) -> int:
    """The number of the line of crash.c that has this text."""
    lines = CRASH.with_suffix(".c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.mark.parametrize(
    ("how", "limits", "expected"),
    [
        ("fault", {}, {"read_at": "*(volatile char *)address", "walk": "read_at(invalid)", "run": "return walk()"}),
        ("divide", {}, {"divide": "dividend / zero", "run": "return divide(how)", "start": "zero = run("}),
        ("spin", {"time": 0.3}, {"spin": "while (!zero)", "run": "return spin();"}),
    ],
    ids=["fault", "division", "limits.time"],
)
def test_the_source_lines_of_c(how: str, limits: dict[str, object], expected: dict[str, str]) -> None:
    guest = crash(how, has_source_lines=True, **limits)
    assert guest.outcome
    frames = guest.outcome.frames[: len(expected)]
    assert [frame.function for frame in frames] == list(expected)
    if how == "spin":  # the epoch is checked before the loop's first line
        frames = frames[1:]
    assert all(frame.line == line_of(expected[frame.function]) for frame in frames)
    assert {frame.file for frame in frames} == {"./tests/support/crash.c"}
    assert all(frame.column for frame in frames)
    assert frames[0].is_inlined == (how == "fault")


def test_no_source_line_without_the_choice() -> None:
    guest = crash("fault", has_source_lines=False)
    assert guest.circumstances().startswith("; in walk, called by run, start")
    assert guest.outcome
    assert not any(frame.file or frame.line for frame in guest.outcome.frames)


def test_memory_that_is_exhausted() -> None:
    guest = crash("exhaust", has_source_lines=False, memory=2**25)
    assert guest.failure() == "trap: wasm `unreachable` instruction executed"
    assert guest.circumstances() == (
        "; in exhaust, called by run, start; 31 of 32 MiB of memory were in use (limits.memory)"
    )
