"""Numbers in memory that another process can see: what a worker has counted outlives it, however it ends."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.reduction import DupFd
from typing import Any

from .log import logger

_SIZE = 64 * 2**20
"""Bytes of address space; memory is what is written of it."""
_WORD = 8
_SPARE = 64
"""Cells that are counted in when there is no room for others; nobody reads them."""


class SharedCounters:
    """Records of 64-bit integers, each with a key; records are added and never removed.

    One process writes; reading needs no lock and no answer of the writer. A file without a name holds them, so that
    nothing is left behind when the last process that has it is gone.

    The first word counts the words in use; then come the spare cells and the records: a word with the length of the key
    in bytes and, above 32 bits, the number of cells, then the key, padded with NULs, then the cells.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor` belongs to the cells of the process that reads them. Raises OSError."""
        self._descriptor = os.memfd_create("counts") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self._descriptor, _SIZE)
        self._memory = mmap.mmap(self._descriptor, _SIZE)
        self._bytes = memoryview(self._memory)
        self.numbers = self._bytes.cast("q")
        """Every cell, by the index that `add` has returned; `numbers[index] += 1` counts."""
        if descriptor is None:
            self.numbers[0] = 1 + _SPARE
        self._known: dict[str, tuple[int, int]] = {}
        self._read = 1 + _SPARE
        self._is_full = False
        self._is_closed = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[Any], SharedCounters], tuple[Any]]:
        """For a process that is about to be started."""
        return _attach, (DupFd(self._descriptor),)

    def add(self, key: str, count: int = 1) -> int:
        """The index of the first of some cells under a key, which begin with 0 if they are new."""
        with self._lock:
            self._look()
            if key in self._known:
                return self._known[key][0]
            name = key.encode()
            start = self.numbers[0]
            first = start + 1 + -(-len(name) // _WORD)
            if first + count > len(self.numbers):
                self._warn()
                return 1
            self.numbers[start] = len(name) | count << 32
            self._bytes[(start + 1) * _WORD : (start + 1) * _WORD + len(name)] = name
            self.numbers[0] = first + count  # last, for from now on others read it
            return first

    def read(self) -> Iterator[tuple[str, list[int]]]:
        """Every key with its cells as they are now."""
        with self._lock:
            self._look()
            return iter([(key, self.numbers[at : at + count].tolist()) for key, (at, count) in self._known.items()])

    def get(self, key: str) -> int:
        """The first cell under a key; 0 if there is none."""
        with self._lock:
            self._look()
            return self.numbers[self._known[key][0]] if key in self._known else 0

    def close(self) -> None:
        """Nobody writes it here any more; whoever reads it finds nothing."""
        with self._lock:
            self._is_closed = True
            self._known = {}
            self.numbers.release()
            self._bytes.release()
            self._memory.close()
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def _look(self) -> None:
        """Finds the records that are new."""
        if self._is_closed:
            return
        end = self.numbers[0]
        while self._read < end:
            head = self.numbers[self._read]
            size, count = head & 0xFFFFFFFF, head >> 32
            key = bytes(self._bytes[(self._read + 1) * _WORD :][:size]).decode()
            first = self._read + 1 + -(-size // _WORD)
            self._known[key] = first, count
            self._read = first + count

    def _warn(self) -> None:
        if not self._is_full:
            self._is_full = True
            logger.warning("there are too many routes to count each; some metrics are incomplete")


def _attach(descriptor: Any) -> SharedCounters:
    return SharedCounters(descriptor.detach())
