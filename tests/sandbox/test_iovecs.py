"""The pieces of gathered reads and writes."""

from __future__ import annotations

import struct

import pytest

from tests.support import guests
from tests.support.memory import BytesMemory
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.iovecs import read_iovecs
from wagi_gateway.sandbox.memory import OutOfBounds

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


def memory(*pieces: tuple[int, int]) -> BytesMemory:
    found = BytesMemory(256)
    found.write(0, b"".join(struct.pack("<II", *piece) for piece in pieces))
    return found


def test_pieces() -> None:
    context = ExecutionContext(invocation(guests.HELLO))
    pieces = [(number, 8) for number in range(20)]
    left = context.calls_left
    assert read_iovecs(context, memory(*pieces), 0, 20) == pieces
    assert context.calls_left == left - 1
    assert read_iovecs(context, memory(*pieces), 8, 1) == [(1, 8)]


@pytest.mark.parametrize(("iovecs", "count", "piece"), [(250, 1, (0, 0)), (0, 1, (255, 2)), (0, 33, (0, 0))])
def test_outside_of_the_memory(iovecs: int, count: int, piece: tuple[int, int]) -> None:
    with pytest.raises(OutOfBounds):
        read_iovecs(ExecutionContext(invocation(guests.HELLO)), memory(piece), iovecs, count)
