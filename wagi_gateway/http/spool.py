"""Spools: bodies that must be complete before their use, in memory while small, then in a temporary file."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from ..errors import AtCapacity

_CHUNK = 256 * 1024


class SpoolBudget:
    """The bytes that all spools of one worker may hold together (`server.spool`)."""

    def __init__(self, total: int, memory: int) -> None:
        """`total` is in bytes; `memory` is how many bytes of each spool stay in memory (`server.body_memory`)."""
        self.free = total
        self.memory = memory


class Spool:
    """A body that is written once and then read. `close`, or the end of its `with`, frees it."""

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
        """Frees memory and file."""
        self._budget.free += self.size
        if self._file is not None:
            with contextlib.suppress(OSError):  # on a full disk, close tries to flush again and fails
                self._file.close()

    async def write(self, data: bytes) -> None:
        """Appends `data`. Raises AtCapacity when the budget or the disk is full."""
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
        """The whole body: bytes, or the descriptor of the temporary file."""
        if self._file is not None:
            return self._file.fileno()
        return b"".join(self._chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The whole body in pieces."""
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
