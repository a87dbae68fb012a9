"""Bytes that must be complete before they are used: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO

_CHUNK = 256 * 1024


class Spool:
    """An unnamed store that grows; closing it frees what it holds."""

    def __init__(self, memory: int) -> None:
        """Up to `memory` bytes are kept in memory."""
        self.size = 0
        self._memory = memory
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    async def write(self, data: bytes) -> None:
        """Appends. Raises OSError when the disk is full."""
        self.size += len(data)
        self._chunks.append(data)
        if self.size > self._memory:
            await asyncio.to_thread(self._flush)

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
