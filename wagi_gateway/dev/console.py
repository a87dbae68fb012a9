"""The terminal of `dev`: a line for each request, builds, failures with their reason, and keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..observe.log import escape
from .builds import BuildResult
from .detail import end_of, is_bad, parsed_output
from .failure import ShownFrame, diagnosis, frames
from .lint import lint
from .masks import Masks
from .recording import Recording

_EXCERPT = 512
"""Bytes of output that are printed."""
_MAX_STDERR_LINES = 200
_MAX_LINE = 4000
"""Characters of a line of a guest."""
_SOURCE_AROUND = 1
_MAX_ADVICE = 5
"""Lines of advice for one request."""
_MAX_ADVISED = 1000
_COLORS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "soft": "2", "bold": "1"}


class Console:
    """Writes to a terminal, or plain lines to anything else."""

    def __init__(self, output: TextIO, base: Path, *, has_color: bool) -> None:
        self._output = output
        self._base = base
        self._has_color = has_color
        self._inspector = ""
        """The URL of the inspector without its token: a browser that has it open needs none."""
        self._advised: set[tuple[str, str]] = set()
        """Route and text of the advice that was written since the terminal was cleared."""

    @classmethod
    def of(cls, output: TextIO, base: Path, environment: Mapping[str, str] = os.environ) -> Console:
        """Colour goes to a terminal alone, and not with NO_COLOR or TERM=dumb."""
        is_plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        return cls(output, base, has_color=output.isatty() and not is_plain)

    def line(self, text: str, color: str = "") -> None:
        """Writes a line."""
        with contextlib.suppress(OSError):  # the terminal has gone
            print(self._paint(text, color), file=self._output, flush=True)

    def banner(self, url: str, inspector: str, keys: bool) -> None:
        """Writes where to go, once everything serves; the URL of the inspector has its token."""
        self._inspector = inspector.partition("#")[0]
        self.line("wagi-gateway dev, for development: shows requests and sources", "bold")
        self.line(f"  site       {url}")
        self.line(f"  inspector  {inspector}")
        self.line("  o open  i inspector  r rebuild  c clear  q quit" if keys else "  Ctrl-C stops", "soft")

    def request(self, recording: Recording) -> None:
        """Writes the line of a request that is over, its standard error and the reason of a failure."""
        status = recording.status
        color = "red" if is_bad(recording) else "yellow" if status >= 400 else "cyan" if status >= 300 else "green"
        masks = Masks.of(recording)
        path = escape(masks.hide(recording.request.raw_path).decode("utf-8", "backslashreplace"))
        cost = f"{recording.seconds * 1000:.1f} ms {recording.sent} B"
        what = f"{recording.request.method} {path} {self._paint(str(status or '-'), color)} {cost}"
        self.line(f"{_clock(recording.began)} {what}  {self._paint(f'#{recording.number}', 'soft')}")
        self._indented(masks.hide(recording.stderr.content), "│ ", _MAX_STDERR_LINES)
        if is_bad(recording):
            self._failure(recording, masks)
        else:
            self._advise(recording, masks)

    def _advise(self, recording: Recording, masks: Masks) -> None:
        """Writes what no error shows, such as a missing charset: once for each route."""
        for text in lint(recording, parsed_output(recording))[:_MAX_ADVICE]:
            if (recording.route, text) not in self._advised and len(self._advised) < _MAX_ADVISED:
                self._advised.add((recording.route, text))
                self.line(f"  worth a look: {escape(masks.text(text))}", "yellow")

    def _failure(self, recording: Recording, masks: Masks) -> None:
        reason = recording.error or recording.failure or end_of(recording)
        self.line(f"  {escape(masks.text(reason))}", "red")
        for frame in frames(recording, self._base):
            self._frame(frame)
        found = diagnosis(recording, masks)
        for text in (*filter(None, [found.advice]), *found.refused()):
            self.line(f"  {text}", "soft")
        if recording.error and recording.stdout.size and not found.output:
            self.line(f"  printed {recording.stdout.size} bytes:", "soft")
            self._indented(masks.beginning(recording.stdout.content, _EXCERPT), "> ", 20)
        if self._inspector:
            self.line(f"  {self._inspector}#/{recording.number}", "soft")

    def _frame(self, frame: ShownFrame) -> None:
        """Writes the place of a frame, and its line of the source with its neighbours."""
        place = f"  {frame.file}:{frame.line}:{frame.column}" if frame.file else ""
        self.line(f"    at {escape(frame.function)}{escape(place)}")
        for number, text in frame.source:
            if abs(number - (frame.line or 0)) <= _SOURCE_AROUND:
                mark = ">" if number == frame.line else " "
                self.line(f"     {mark} {number:>4} {escape(text.expandtabs(4))}", "soft")

    def _indented(self, data: bytes, mark: str, limit: int) -> None:
        lines = data.decode("utf-8", "backslashreplace").splitlines()
        for text in lines[:limit]:
            shown = text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}…"
            self.line(f"  {mark}{escape(shown.expandtabs(4))}", "soft")
        if len(lines) > limit:
            self.line(f"  {mark}… {len(lines) - limit} more lines", "soft")

    def build(self, result: BuildResult) -> None:
        """Writes the begin or the end of a build."""
        if result.code is None:
            self.line(f"{_clock(result.began)} build {escape(f'{result.route}: {result.command}')}", "soft")
        else:
            what = "built" if not result.code else f"build failed with code {result.code}:"
            color = "red" if result.code else "green"
            self.line(f"{_clock(time.time())} {what} {escape(result.route)} in {result.seconds or 0:.2f} s", color)

    def output(self, _route: str, data: bytes) -> None:
        """Writes a piece of a build's output as it is: it is the compiler's own."""
        with contextlib.suppress(OSError):
            self._output.write(data.decode("utf-8", "replace"))
            self._output.flush()

    def event(self, text: str, seconds: float) -> None:
        """Writes what happened between requests."""
        took = f" in {seconds * 1000:.0f} ms" if seconds else ""
        self.line(f"{_clock(time.time())} {escape(text)}{took}", "soft")

    def clear(self) -> None:
        """Clears the terminal."""
        self._advised.clear()
        if self._output.isatty():
            self.line("\x1b[2J\x1b[3J\x1b[H")

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if color and self._has_color else text


@contextmanager
def keys(actions: Mapping[str, Callable[[], object]]) -> Iterator[bool]:
    """Calls an action for each of its keys, on the running loop; yields whether standard input is a terminal."""
    descriptor = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else -1
    if descriptor < 0 or os.tcgetpgrp(descriptor) != os.getpgrp():
        yield False
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        try:
            pressed = os.read(descriptor, 64).decode("latin-1")
        except OSError:
            pressed = ""
        if not pressed:  # the terminal has gone
            loop.remove_reader(descriptor)
            actions["q"]()
        for key in pressed:
            actions.get(key.lower(), lambda: None)()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
