"""A guest's linear memory: reads and writes within its bounds, before and after it has grown."""

from __future__ import annotations

import pytest

from tests.support.memory import BytesMemory
from wagi_gateway.sandbox.memory import OutOfBounds

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)


@pytest.mark.parametrize(("start", "size"), [(0, 16), (16, 0), (0, 0), (15, 1), (7, 3)])
def test_within_its_bounds(start: int, size: int) -> None:
    memory = BytesMemory(16)
    memory.write(start, b"x" * size)
    assert memory.read(start, size) == b"x" * size
    assert memory.read(0, 16).count(b"x") == size


@pytest.mark.parametrize(
    ("start", "size"), [(16, 1), (17, 0), (0, 17), (15, 2), (2**32 - 1, 2), (2**32 - 1, 2**32 - 1)]
)
def test_beyond_its_bounds(start: int, size: int) -> None:
    memory = BytesMemory(16)
    for access in (memory.check, memory.read):
        with pytest.raises(OutOfBounds):
            access(start, size)
    if size <= 17:
        with pytest.raises(OutOfBounds):
            memory.write(start, b"x" * size)
    assert memory.read(0, 16) == bytes(16)


def test_after_it_has_grown() -> None:
    memory = BytesMemory(16, 32)
    memory.write(24, b"grown")
    assert memory.read(24, 8) == b"grown\0\0\0"
    with pytest.raises(OutOfBounds):
        memory.check(24, 9)


def test_a_copy_is_read() -> None:
    memory = BytesMemory(16)
    copy = memory.read(0, 4)
    memory.write(0, b"late")
    assert copy == bytes(4)
