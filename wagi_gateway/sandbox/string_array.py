"""The strings of an argument vector or an environment, as WASI hands them to a guest."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate
from operator import add

_NUL = b"\0"


class StringArray:
    """NUL-terminated strings in one block. Source: WASI preview 1, `args_get`, `environ_get`."""

    __slots__ = ("_strings", "block")

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._strings = list(strings)
        self.block = _NUL.join([*self._strings, b""])

    def __len__(self) -> int:
        return len(self._strings)

    def pointers(self, start: int) -> bytes:
        """The addresses of the strings, 32 bits each, where the block is written to `start`."""
        before = accumulate(map(len, self._strings[:-1]), initial=start)
        return array("I", map(add, before, range(len(self._strings)))).tobytes()  # with a NUL behind each string before
