"""`fd_write` without a guest: all iovecs, its errors and its bounds (WASI preview 1)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.fd_write import FD_WRITE

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
SUCCESS, BADF, FAULT, INVALID, IO, PIPE = 0, 8, 21, 28, 29, 64
TEXT = b"one two"


class Pipe:
    """A guest whose standard output is a pipe, and a memory with TEXT at 1000."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.context = ExecutionContext(invocation(guests.HELLO))
        self.context.begin()
        self.context.outputs = self.writer, -1
        self.memory = BytesMemory(65536)
        self.memory.write(1000, TEXT)

    def write(self, *iovecs: tuple[int, int], descriptor: int = 1, written: int = 8) -> int:
        self.memory.write(16, b"".join(struct.pack("<II", *iovec) for iovec in iovecs))
        return FD_WRITE.function(self.context, self.memory, [descriptor, 16, len(iovecs), written])


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        try:
            os.close(descriptor)
        except OSError:
            assert descriptor == pipe.reader


@pytest.mark.parametrize(
    ("iovecs", "output"),
    [
        ([(1000, 3)], b"one"),
        ([(1000, 3), (1003, 4)], TEXT),
        ([(1000, 0), (1004, 3)], b"two"),
        ([(65536, 0), (1000, 7)], TEXT),
    ],
    ids=["one", "two", "an empty one", "one at the end of memory"],
)
def test_all_iovecs(pipe: Pipe, iovecs: list[tuple[int, int]], output: bytes) -> None:
    assert pipe.write(*iovecs) == SUCCESS
    assert os.read(pipe.reader, 100) == output
    assert struct.unpack("<I", pipe.memory.read(8, 4)) == (len(output),)


@pytest.mark.parametrize(
    ("iovecs", "options", "result"),
    [
        ([(1000, 3)], {"descriptor": 0}, BADF),
        ([(1000, 3)], {"descriptor": 3}, BADF),
        ([(65530, 7)], {}, FAULT),
        ([(1000, 3), (2**32 - 1, 1)], {}, FAULT),
        ([(1000, 3)], {"written": 65533}, FAULT),
        ([(1000, 0)] * 1025, {}, INVALID),
        ([(1000, 3)], {"descriptor": 2}, IO),
    ],
    ids="standard input|a file|beyond memory|second beyond memory|count beyond memory|too many|closed".split("|"),
)
def test_errors(pipe: Pipe, iovecs: list[tuple[int, int]], options: dict[str, int], result: int) -> None:
    assert pipe.write(*iovecs, **options) == result
    os.set_blocking(pipe.reader, False)
    with pytest.raises(BlockingIOError):
        os.read(pipe.reader, 1)


def test_a_pipe_without_a_reader(pipe: Pipe) -> None:
    os.close(pipe.reader)
    assert pipe.write((1000, 3)) == PIPE


def test_a_guest_that_has_to_stop_writes_nothing(pipe: Pipe) -> None:
    pipe.context.stop("shutdown")
    assert pipe.write((1000, 3)) == PIPE


def test_without_memory(pipe: Pipe) -> None:
    assert FD_WRITE.function(pipe.context, None, [1, 0, 1, 8]) == FAULT
