"""Reading a container's log: CRI lines in a file and its rotated predecessors, a block at a time."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from ...observe.log_file import rotated

BLOCK = 64 * 1024
"""Bytes that are read at once."""


class Line(NamedTuple):
    """A line of a log, or a part of one."""

    time: bytes
    """`2026-11-30T12:00:00.123456789Z`; times of the same form can be compared as bytes."""
    is_last: bool
    """Whether the line ends here."""
    text: bytes

    @classmethod
    def parse(cls, line: bytes) -> Line | None:
        """Parses `2026-11-30T12:00:00.123456789Z stderr F text`; None for another form."""
        fields = line.split(b" ", 3)
        return cls(fields[0], fields[2] != b"P", fields[3]) if len(fields) == 4 else None


class LogReader:
    """The lines of a log in order, across rotations.

    Writers lock the file while they write and rename it (`observe.log_file`): a file that has been renamed gets no
    further line.
    """

    def __init__(self, path: Path, tail: int | None = None) -> None:
        """Begins with the oldest file that is kept, or `tail` lines before the end. Raises OSError."""
        self.path = path
        self._file: FileIO | None = None
        self._left = deque(self._open_all())
        self._rest = b""
        try:
            if tail is not None:
                self._skip_to_tail(tail)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the files."""
        for file in (self._file, *self._left):
            if file:
                file.close()

    def blocks(self) -> Iterator[list[Line]]:
        """The further lines up to the end of the log, a block at a time; an incomplete last line is kept back.

        A later call goes on where this one has ended. Raises OSError.
        """
        while file := self._file or self._move_on():
            if data := file.read(BLOCK):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield [parsed for line in lines if (parsed := Line.parse(line))]
            elif self._is_current(file) or not (_has_grown(file) or self._move_on()):
                return

    def _is_current(self, file: FileIO) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        return False

    def _move_on(self) -> FileIO | None:
        """Goes to the next file, if there is one, and returns it."""
        following = self._left.popleft() if self._left else self._following()
        if following:
            if self._file:
                self._file.close()
            self._file, self._rest = following, b""
        return following

    def _following(self) -> FileIO | None:
        """The file after the current one; the oldest one if that is gone."""
        files = self._open_all()
        inodes = [os.fstat(file.fileno()).st_ino for file in files]
        own = os.fstat(self._file.fileno()).st_ino if self._file else None
        place = inodes.index(own) + 1 if own in inodes else 0
        for file in (*files[:place], *files[place + 1 :]):
            file.close()
        return files[place] if place < len(files) else None

    def _open_all(self) -> list[FileIO]:
        """The rotated files, the oldest first, and the current one, each of them once."""
        # The current one is opened first: if it is renamed meanwhile, it is the last of the rotated ones.
        files: list[FileIO] = []
        with contextlib.ExitStack() as opened:  # closed again after an error
            if current := _open(self.path):
                opened.push(current)
            with contextlib.suppress(FileNotFoundError):
                files = [opened.enter_context(file) for path in rotated(self.path) if (file := _open(path))]
            opened.pop_all()
        if current and files and os.path.sameopenfile(files[-1].fileno(), current.fileno()):
            current.close()
            return files
        return [*files, current] if current else files

    def _skip_to_tail(self, count: int) -> None:
        """Drops what comes before the last `count` lines."""
        is_open = True
        """Whether a part without the last one is a line: at the end of the log."""
        for place in reversed(range(len(self._left))):
            file = self._left[place]
            for end, text in _backwards(file):
                line = Line.parse(text)
                if line and (line.is_last or is_open):
                    count -= 1
                if count < 0:
                    file.seek(end + 1)
                    for _ in range(place):
                        self._left.popleft().close()
                    return
                is_open = is_open and line is None
            file.seek(0)


def _has_grown(file: FileIO) -> bool:
    """Whether lines came between the last read and the rotation."""
    return os.fstat(file.fileno()).st_size > file.tell()


def _backwards(file: FileIO) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a file from its end, each with the position of its line feed."""
    start = file.seek(0, os.SEEK_END)
    head = b""
    """The line whose start is in an earlier block."""
    is_complete = False
    while start:
        end, start = start, max(start - BLOCK, 0)
        file.seek(start)
        data = file.read(end - start) + head
        position = start + len(data)
        lines = data.split(b"\n")
        head = lines.pop(0) if start else b""
        for line in reversed(lines):
            if is_complete:
                yield position, line
            is_complete = True
            position -= len(line) + 1


def _open(path: Path) -> FileIO | None:
    with contextlib.suppress(FileNotFoundError):
        return FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    return None
