"""Spools for data that must be complete before its use, within a common budget of disk space."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import IO

import pytest

from wagi_gateway.errors import AtCapacity
from wagi_gateway.http.spool import Spool, SpoolBudget


async def _fill(spool: Spool, *pieces: bytes) -> bytes:
    for piece in pieces:
        await spool.write(piece)
    return b"".join([piece async for piece in spool.chunks()])


@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a" * 60, b"b" * 60), (b"a" * 10, b"b" * 500, b"c")])
def test_what_is_written_is_read(pieces: tuple[bytes, ...]) -> None:
    budget = SpoolBudget(total=1000, memory=100)
    with Spool(budget) as spool:
        assert asyncio.run(_fill(spool, *pieces)) == b"".join(pieces)
        assert spool.size == len(b"".join(pieces))
        content = spool.content()
        assert isinstance(content, int) == (spool.size > 100)
        assert (os.pread(content, 1000, 0) if isinstance(content, int) else content) == b"".join(pieces)
    assert budget.free == 1000


def test_the_room_is_shared() -> None:
    budget = SpoolBudget(total=100, memory=100)
    with Spool(budget) as one, Spool(budget) as other:
        asyncio.run(_fill(one, b"a" * 60))
        with pytest.raises(AtCapacity, match=r"server\.spool"):
            asyncio.run(_fill(other, b"b" * 60))
    assert budget.free == 100


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    def full() -> IO[bytes]:
        return open("/dev/full", "wb")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    budget = SpoolBudget(total=200_000, memory=0)
    with pytest.raises(AtCapacity, match="No space left"), Spool(budget) as spool:
        asyncio.run(_fill(spool, b"x" * size))
    assert budget.free == 200_000
