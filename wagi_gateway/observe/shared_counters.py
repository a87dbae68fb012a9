"""Counters in memory shared with another process, which reads them even after the writing process was killed."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.reduction import DupFd
from typing import Any

from .log import logger

_SIZE = 64 * 2**20
"""Bytes of address space; pages that are never written take no memory."""
_WORD = 8
_SPARE = 64
"""Counters that `add` returns when the memory is full; `read` omits them."""


class SharedCounters:
    """Series of 64-bit counters in an mmap, each with a key; series are added and never removed.

    One process writes, and others read without a lock between processes. The memory is an anonymous file
    (memfd_create(2)), which is freed with the last process that has it open.

    Layout in words of 8 bytes: the number of words in use; the spare counters; then each series. A series is a header,
    the key in UTF-8, padded with NULs, and the counters. The header has the key's length in bytes in its lower 32 bits,
    and the number of counters in its upper ones.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor` is that of existing counters, in another process; without it, new counters are created.

        Raises OSError.
        """
        self._descriptor = os.memfd_create("counts") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self._descriptor, _SIZE)
        self._memory = mmap.mmap(self._descriptor, _SIZE)
        self._bytes = memoryview(self._memory)
        self.numbers = self._bytes.cast("q")
        """The counters, by the index that `add` returns: `numbers[index] += 1`."""
        if descriptor is None:
            self.numbers[0] = 1 + _SPARE
        self._known: dict[str, tuple[int, int]] = {}
        self._read = 1 + _SPARE
        self._is_full = False
        self._is_closed = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[Any], SharedCounters], tuple[Any]]:
        """Pickles the descriptor, as an argument of a process that is being started."""
        return _attach, (DupFd(self._descriptor),)

    def add(self, key: str, count: int = 1) -> int:
        """Adds a series of `count` zeros, unless the key exists, and returns the index of the first counter."""
        with self._lock:
            self._index()
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
            self.numbers[0] = first + count  # last: it makes the series visible to readers
            return first

    def read(self) -> Iterator[tuple[str, list[int]]]:
        """All series: keys with copies of their counters."""
        with self._lock:
            self._index()
            return iter([(key, self.numbers[at : at + count].tolist()) for key, (at, count) in self._known.items()])

    def get(self, key: str) -> int:
        """The first counter of a series; 0 if the key does not exist."""
        with self._lock:
            self._index()
            return self.numbers[self._known[key][0]] if key in self._known else 0

    def close(self) -> None:
        """Unmaps the memory; `read` and `get` then find no series."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._known = {}
            self.numbers.release()
            self._bytes.release()
            self._memory.close()
            os.close(self._descriptor)

    def _index(self) -> None:
        """Reads the keys of series that were added since the last call."""
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
