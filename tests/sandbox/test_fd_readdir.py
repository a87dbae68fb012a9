"""Directory entries in a guest's buffer."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox import errno
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.fd_readdir import directory_opened, directory_renumbered, fd_readdir
from wagi_gateway.sandbox.invocation import GuestVolume
from wagi_gateway.sandbox.memory import Memory

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
USED, BUFFER, SIZE = 0, 64, 4096


class BytesMemory(Memory):
    """A memory of fixed size."""

    def __init__(self) -> None:
        super().__init__(memoryview(bytearray(SIZE)), SIZE)

    def refresh(self) -> None:
        """Nothing grows."""


@pytest.fixture
def guest(tmp_path: Path) -> ExecutionContext:
    (tmp_path / "long-name").mkdir()
    given = invocation(guests.HELLO)
    given.volumes = (GuestVolume(bytes(tmp_path), b"/", is_writable=True),)
    context = ExecutionContext(given)
    context.memory = BytesMemory()
    return context


def used(context: ExecutionContext) -> int:
    assert context.memory
    return int(struct.unpack_from("<I", context.memory.view, USED)[0])


@pytest.mark.parametrize(
    ("cookie", "size", "expected"),
    [(0, 1000, 25 + 26 + 33), (1, 1000, 26 + 33), (2, 30, 30), (3, 1000, 0), (99, 1000, 0), (0, 0, 0)],
    ids="all|but the first|cut off|end|beyond|no buffer".split("|"),
)
def test_bytes_used(guest: ExecutionContext, cookie: int, size: int, expected: int) -> None:
    assert fd_readdir(guest, 3, BUFFER, size, cookie, USED) == errno.SUCCESS
    assert used(guest) == expected
    guest.end()


@pytest.mark.parametrize(("start", "size", "used_at"), [(SIZE, 1, 0), (0, SIZE + 1, 0), (0, 1, SIZE - 3)])
def test_addresses_outside_of_the_memory(guest: ExecutionContext, start: int, size: int, used_at: int) -> None:
    assert fd_readdir(guest, 3, start, size, 0, used_at) == errno.FAULT


def test_a_directory_that_was_opened_and_moved(guest: ExecutionContext) -> None:
    assert guest.memory
    guest.memory.write(BUFFER, b"long-name")
    assert directory_opened(guest, 3, BUFFER, 9, 7) == errno.SUCCESS
    assert directory_renumbered(guest, 7, 8) == errno.SUCCESS
    assert [fd_readdir(guest, number, BUFFER, 100, 0, USED) for number in (7, 8)] == [errno.IO, errno.SUCCESS]
    assert used(guest) == 25 + 26
    guest.end()


def test_a_guest_without_memory(guest: ExecutionContext) -> None:
    guest.memory = None
    assert fd_readdir(guest, 3, BUFFER, 100, 0, USED) == errno.FAULT
    assert directory_opened(guest, 3, BUFFER, 9, 7) == errno.FAULT
