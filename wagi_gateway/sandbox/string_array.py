"""The strings of an argument vector or an environment, as WASI hands them to a guest."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate

_NUL = b"\0"


class StringArray:
    """NUL-terminated strings in one block. Source: WASI preview 1, `args_get`, `environ_get`."""

    __slots__ = ("_sizes", "block")

    def __init__(self, strings: Iterable[bytes]) -> None:
        terminated = [string + _NUL for string in strings]
        self.block = b"".join(terminated)
        self._sizes = list(map(len, terminated))

    def __len__(self) -> int:
        return len(self._sizes)

    def pointers(self, start: int) -> bytes:
        """The addresses of the strings, 32 bits each, where the block is written to `start`."""
        return array("I", [*accumulate(self._sizes[:-1], initial=start)][: len(self._sizes)]).tobytes()
