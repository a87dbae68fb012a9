"""Host functions as data: name, signature and implementation, and the guest's memory during a call.

A host function runs on the guest's thread. The backends (`capi`, `public`) add a HostImport to a linker.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from .context import ExecutionContext, current

logger = logging.getLogger("wagi_gateway")


class OutOfBounds(Exception):
    """An address lies outside the guest's memory."""


class Memory(ABC):
    """A guest's linear memory during one host call, in which the memory does not move."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def check(self, start: int, size: int) -> None:
        """Raises OutOfBounds."""
        if start + size > self.size:
            raise OutOfBounds

    @abstractmethod
    def read(self, start: int, size: int) -> bytes:
        """Returns a copy of `size` bytes. Raises OutOfBounds."""

    @abstractmethod
    def write(self, start: int, data: bytes) -> None:
        """Writes `data`. Raises OutOfBounds, and then has written nothing."""


HostFunction = Callable[[ExecutionContext, Memory | None, list[int]], int]
"""Context, memory (None if the module exports none) and unsigned arguments; returns the result. All values are i32."""


class HostImport(NamedTuple):
    """A function that the gateway offers to guests."""

    module: str
    name: str
    parameters: int
    """Number of parameters, all i32."""
    function: HostFunction
    failed: int
    """The result where `function` raises."""


def call(
    function: HostFunction, find_memory: Callable[[Any], Memory | None], caller: Any, arguments: list[int], failed: int
) -> int:
    """Calls a host function. Never raises: ctypes would print the exception past the log, and the guest would read its
    own first argument as the result."""
    try:
        context = current.context
        if context is None:
            return failed
        context.count_host_call()
        return function(context, find_memory(caller), arguments)
    except Exception:
        logger.exception("a host function failed")
        return failed
