"""The diagnosis of a failed request, for the author of its module: backtrace with source lines, and refused output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..errors import RefusedOutput
from ..sandbox.backtrace import Frame
from .log_record import escape

NO_NAMES = "the module has no function names: it was built with -s, or stripped; build it with -g"
NO_LINES = "the module has no source lines: build it with -g, if its compiler writes DWARF"
_WIDTH = 32
"""Characters of the widest column of function names."""


class Diagnosis(NamedTuple):
    """What shows the cause of a failure; an attribute of its log record. No client gets any of it."""

    frames: tuple[Frame, ...]
    """The functions that were running, the innermost first."""
    output: RefusedOutput | None
    """What the guest printed, if that was refused."""

    def lines(self) -> Iterator[str]:
        """The diagnosis as lines of text, with characters that a terminal may interpret."""
        yield from self._backtrace()
        yield from self.refused()

    def refused(self) -> Iterator[str]:
        """The refused output, with a caret below the byte that breaks the rules; it may hold personal data."""
        if self.output:
            yield from _show(self.output)

    @property
    def advice(self) -> str:
        """How the module is built so that the backtrace has what it lacks; empty if it lacks nothing."""
        if not self.frames or any(frame.file for frame in self.frames):
            return ""
        return NO_LINES if any(frame.has_name for frame in self.frames) else NO_NAMES

    @property
    def lacks_names(self) -> bool:
        """Whether a guest failed in a module without function names."""
        return self.advice == NO_NAMES

    def _backtrace(self) -> Iterator[str]:
        if self.frames and not self.lacks_names:
            yield from self._functions()
        if self.advice:
            yield self.advice

    def _functions(self) -> Iterator[str]:
        width = min(max(len(frame.function) for frame in self.frames), _WIDTH)
        for frame, group in groupby(self.frames):
            count = len(list(group))
            times = f" ({count} times)" if count > 1 else ""
            yield f"{frame.function:<{width}}  {_place(frame)}".rstrip() + times


def _place(frame: Frame) -> str:
    if frame.file is None:
        return ""
    path = os.path.relpath(frame.file) if Path(frame.file).is_relative_to(Path.cwd()) else frame.file
    numbers = "".join(f":{number}" for number in (frame.line, frame.column) if number)
    return f"{path}{numbers}{' (inlined)' if frame.is_inlined else ''}"


def _show(output: RefusedOutput) -> Iterator[str]:
    """The output's lines, with a caret below the byte that breaks the rules."""
    yield f"the output, which is no response from byte {output.offset} on:"
    begin = 0
    for line in output.beginning.split(b"\n"):
        yield f"| {_text(line)}"
        if 0 <= output.offset - begin <= len(line):
            yield f"| {' ' * len(_text(line[: output.offset - begin]))}^"
        begin += len(line) + 1


def _text(line: bytes) -> str:
    return escape(line.decode("utf-8", "backslashreplace"))
