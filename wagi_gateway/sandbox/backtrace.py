"""wasmtime's text of a trap or error: its cause, and its WebAssembly frames.

The C API has no accessor for the file and line of a frame, so that the text is parsed. Its form, by example:

    error while executing at wasm backtrace:
        0:     0x1c9 - index
                        at /src/table.c:12:9
                    - lookup
                        at /src/table.c:20:12
        1:     0x2f0 - module.wasm!main
        2: module.wasm!_start

    Caused by:
        0: memory fault at wasm address 0xfffff000 in linear memory of size 0x20000
        1: wasm trap: out of bounds memory access

The first frame has a function that is inlined into a second one; frames without DWARF have the module's name.
Source: wasmtime, `impl Display for WasmBacktrace`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

_BEGIN = "error while executing at wasm backtrace:\n"
_CAUSES = "\n\nCaused by:\n"
_FRAME = re.compile(r" +\d+: +(?:0x[0-9a-f]+ - )?(.*)")
_INLINED = re.compile(r" {12,}- (.*)")
_PLACE = re.compile(r" {12,}at (.+?)(?::(\d+))?(?::(\d+))?")
_UNNAMED = re.compile(r"<wasm function \d+>")
_TYPES = {
    "void": "v",
    "wchar_t": "w",
    "bool": "b",
    "char": "c",
    "signed char": "a",
    "unsigned char": "h",
    "short": "s",
    "unsigned short": "t",
    "int": "i",
    "unsigned int": "j",
    "long": "l",
    "unsigned long": "m",
    "long long": "x",
    "unsigned long long": "y",
    "__int128": "n",
    "unsigned __int128": "o",
    "float": "f",
    "double": "d",
    "long double": "e",
    "__float128": "g",
    "...": "z",
}
"""Functions with names of one letter, which wasmtime takes for mangled types of C++."""
_HASH = re.compile(r"::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]")
"""Hashes in the name of a Rust function."""
MAX_FRAMES = 32
"""Frames that are kept; wasmtime takes the innermost 20, each of which may have inlined ones."""
_MAX_LINES = 3 * MAX_FRAMES
_MAX_NAME = 160
"""Characters of a function's name."""
_MAX_FILE = 4096
"""Characters of a file's path."""


class Frame(NamedTuple):
    """A function that was running when the guest was ended."""

    function: str
    """The demangled name, any characters but line feeds; `<wasm function 3>` in a module without names."""
    file: str | None = None
    """The path of the source file as the compiler has written it, absolute or not; None without DWARF."""
    line: int | None = None
    column: int | None = None
    is_inlined: bool = False
    """Whether the function is inlined into that of the next frame."""

    @property
    def has_name(self) -> bool:
        """Whether the module names the function."""
        return not _UNNAMED.fullmatch(self.function)


class Ending(NamedTuple):
    """Why wasmtime ended a guest, and in which functions, the innermost first."""

    cause: str
    """The cause on one line, such as `out of bounds memory access (memory fault at wasm address 0x…)`."""
    frames: tuple[Frame, ...]


def parse(text: str) -> Ending:
    """Parses the message of a trap or error. The module chooses names and files, which may have any characters."""
    backtrace, has_causes, causes = text.rpartition(_CAUSES)
    if not has_causes or not backtrace.startswith(_BEGIN):
        return Ending(_one_line(text).removeprefix("wasm trap: "), ())
    *contexts, cause = [re.sub(r"^ *(?:\d+: )?", "", line) for line in causes.rstrip().split("\n")]
    around = f" ({'; '.join(contexts)})" if contexts else ""
    return Ending(cause.removeprefix("wasm trap: ") + around, tuple(_frames(backtrace)))


def describe(frames: Sequence[Frame]) -> str:
    """The functions of a backtrace for a line of the log; nothing if the module has no names.

    >>> describe([Frame("walk"), Frame("walk"), Frame("main")])
    'in walk (2 times), called by main'
    """
    if not any(frame.has_name for frame in frames):
        return ""
    names = [(name, len(list(group))) for name, group in groupby(frame.function for frame in frames)]
    first, *callers = [name if count == 1 else f"{name} ({count} times)" for name, count in names]
    return f"in {first}, called by {', '.join(callers)}" if callers else f"in {first}"


def _frames(backtrace: str) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    for line in backtrace.split("\n", _MAX_LINES)[1:_MAX_LINES]:
        if match := _FRAME.fullmatch(line):
            frames.append(Frame(match[1]))
        elif not frames:
            continue
        elif match := _INLINED.fullmatch(line):
            frames[-1] = frames[-1]._replace(is_inlined=True)
            frames.append(Frame(match[1]))
        elif match := _PLACE.fullmatch(line):
            file, *numbers = match.groups()
            row, column = (int(number[:9]) if number else None for number in numbers)
            frames[-1] = frames[-1]._replace(file=file[:_MAX_FILE], line=row, column=column)
    return tuple(map(_with_own_name, frames[:MAX_FRAMES]))


def _with_own_name(frame: Frame) -> Frame:
    """The frame without `module!` before its function, which it has without DWARF, and without hashes."""
    name = frame.function
    if not frame.file:
        name = name.partition("!")[2] or name
    name = _TYPES.get(name, _HASH.sub("", name))
    return frame._replace(function=f"{name[:_MAX_NAME]}…" if len(name) > _MAX_NAME else name)


def _one_line(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return ": ".join(line for line in lines if line and line != "Caused by:")
