"""Bytes that must be complete before they are used: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from ..errors import AtCapacity

_CHUNK = 256 * 1024


class SpoolBudget:
    """What all spools of one worker hold together: clients decide how many there are, the operator how much."""

    def __init__(self, total: int, memory: int) -> None:
        """`total` bytes of all spools; of each up to `memory` bytes are kept in memory."""
        self.free = total
        self.memory = memory


class Spool:
    """An unnamed store that grows; leaving its `with` frees what it holds."""

    def __init__(self, budget: SpoolBudget) -> None:
        self.size = 0
        self._budget = budget
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees what it holds."""
        self._budget.free += self.size
        if self._file is not None:
            with contextlib.suppress(OSError):  # what did not fit the disk is tried once more, and is not needed
                self._file.close()

    async def write(self, data: bytes) -> None:
        """Appends. Raises AtCapacity when the room or the disk is full."""
        if len(data) > self._budget.free:
            raise AtCapacity("the bodies of all requests together are over server.spool", limit="spool")
        self._budget.free -= len(data)
        self.size += len(data)
        self._chunks.append(data)
        if self.size > self._budget.memory:
            try:
                await asyncio.to_thread(self._flush)
            except OSError as error:
                raise AtCapacity(f"a body cannot be spooled: {error.strerror}", limit="spool") from None

    def content(self) -> bytes | int:
        """Everything: as bytes, or as the descriptor of a file that holds it."""
        if self._file is not None:
            return self._file.fileno()
        return b"".join(self._chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Everything, piece by piece."""
        if self._file is None:
            yield b"".join(self._chunks)
            return
        self._file.seek(0)
        while data := await asyncio.to_thread(self._file.read, _CHUNK):
            yield data

    def _flush(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spool
        self._file.writelines(self._chunks)
        self._file.flush()
        self._chunks.clear()
