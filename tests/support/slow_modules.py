"""Small modules that wasmtime compiles slowly or in much memory, and the processes that compile."""

from __future__ import annotations

import os
from pathlib import Path

_START = '(func (export "_start"))'


def loops(depth: int, variables: int) -> str:
    """Nested loops that change one variable each. Time and memory grow with `depth` times `variables`."""
    body = "".join(
        f"local.get {number % variables} local.get {(number * 7 + 1) % variables} i32.add"
        f" local.set {(number * 7 + 1) % variables} local.get {number % variables} br_if 0 end\n"
        for number in range(depth)
    )
    return f'(module (func (export "_start") (local{" i32" * variables})\n{"loop " * depth}\n{body}))'


def blocks(variables: int, count: int) -> str:
    """A loop of many blocks, each of which may change one of many variables."""
    body = "".join(
        f"block local.get {number % variables} br_if 0 i32.const 1 local.set {number * 31 % variables} end\n"
        for number in range(count)
    )
    return f'(module (func (export "_start") (local{" i32" * variables})\nloop\n{body} local.get 0 br_if 0 end))'


def calls(values: int, count: int) -> str:
    """Calls of a function with many parameters and results."""
    types = f"(param{' i64' * values}) (result{' i64' * values})"
    body = "i64.const 0 " * values + "call $f " * count + "drop " * values
    variables = "".join(f"local.get {number} " for number in range(values))
    return f'(module (func $f {types} {variables}) (func (export "_start") {body}))'


def functions(count: int) -> str:
    """Many functions without instructions."""
    return f"(module {_START} {'(func)' * count})"


def nested(depth: int) -> str:
    """A function of nested blocks."""
    return f'(module (func (export "_start") {"block " * depth}{"end " * depth}))'


def line(length: int) -> str:
    """A function without branches."""
    return f'(module (func (export "_start") (local i32) {"local.get 0 i32.const 1 i32.add local.set 0 " * length}))'


ENDLESS = loops(500, 500)
"""8.5 KB; more than a minute."""
SLOW = {
    "12 KB of nested loops": loops(700, 600),
    "25 KB of nested loops": loops(1400, 1000),
    "calls with many values": calls(1000, 1000),
    "many variables": blocks(5000, 5000),
    "many functions": functions(500_000),
}
"""Modules that take many seconds."""
LARGE = {
    "nested loops": loops(500, 500),
    "calls with many values": calls(1000, 1000),
    "many variables": blocks(5000, 5000),
    "nested blocks": nested(300_000),
    "a long function": line(150_000),
}
"""Modules whose compilation needs more than 64 MiB."""


def compilers(ancestor: int) -> list[int]:
    """The fork servers below a process, and their children that compile."""
    found: list[int] = []
    for pid in _children(ancestor):
        if _is_compiler(pid):
            found.append(pid)
        found += compilers(pid)
    return found


_known: set[int] = set()


def note_compilers() -> None:
    """Notes the fork servers below this process."""
    _known.clear()
    _known.update(compilers(os.getpid()))


def new_compilers() -> list[int]:
    """The fork servers below this process that were started since `note_compilers`, and their children."""
    return [pid for pid in compilers(os.getpid()) if pid not in _known]


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _is_compiler(pid: int) -> bool:
    try:
        return b"fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
