"""The diagnosis of a failed request: the lines that an author sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.errors import RefusedOutput
from wagi_gateway.observe.diagnosis import NO_NAMES, Diagnosis
from wagi_gateway.sandbox.backtrace import Frame


def lines(*frames: Frame, output: RefusedOutput | None = None) -> list[str]:
    return list(Diagnosis(frames, output).lines())


def test_a_backtrace_with_source_lines() -> None:
    here = str(Path.cwd() / "src" / "a.c")
    found = lines(
        Frame("lookup", here, 5, 50, is_inlined=True),
        Frame("f", "/else/b.c", 7),
        Frame("n" * 40, "c.c"),
        Frame("x"),
        Frame("x"),
    )
    assert found == [
        f"{'lookup':<32}  src/a.c:5:50 (inlined)",
        f"{'f':<32}  /else/b.c:7",
        f"{'n' * 40}  c.c",
        "x (2 times)",
    ]


@pytest.mark.parametrize(
    ("frames", "last"),
    [
        ([], ""),
        (
            [Frame("<wasm function 1>")],
            NO_NAMES,
        ),
        ([Frame("main")], "the module has no source lines: build it with -g, if its compiler writes DWARF"),
    ],
    ids=["no frames", "no names", "no lines"],
)
def test_what_a_module_lacks(frames: list[Frame], last: str) -> None:
    assert [*lines(*frames), ""][-2:][0] == last


@pytest.mark.parametrize(
    ("output", "offset", "expected"),
    [
        (b"Hello\nworld\n", 0, ["| Hello", "| ^", "| world", "| "]),
        (b"a: b\nh\xc3\xa9\x1b[2J\n", 8, ["| a: b", "| hé\\x1b[2J", "|   ^", "| "]),
        (b"a\x00b\r\n", 2, ["| a\\x00b\\r", "|      ^", "| "]),
        (b"a: b", 4, ["| a: b", "|     ^"]),
        (b"x" * 512, 700, ["| " + "x" * 512]),
    ],
    ids="first line|second line|control characters|end|beyond".split("|"),
)
def test_refused_output(output: bytes, offset: int, expected: list[str]) -> None:
    heading, *shown = lines(output=RefusedOutput(output, offset))
    assert heading == f"the output, which is no response from byte {offset} on:"
    assert shown == expected
