"""Host functions: what a guest calls of the gateway, and the guest's memory while it does.

A host function runs on the guest's thread and finds its invocation in `current`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import wasmtime

from ..compiler import abi
from .invocation import Invocation, current

HostFunction = Callable[[Invocation, "Memory | None", list[int]], int]
"""Invocation, memory (None if the module exports none), unsigned arguments; the result. All of them are i32."""

logger = logging.getLogger("wagi_gateway")


class OutOfBounds(Exception):
    """An address lies outside the guest's memory."""


class Memory(ABC):
    """A guest's linear memory during one call of the host, in which it does not move."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def check(self, start: int, size: int) -> None:
        """Raises OutOfBounds."""
        if start + size > self.size:
            raise OutOfBounds

    @abstractmethod
    def read(self, start: int, size: int) -> bytes:
        """A copy of some bytes. Raises OutOfBounds."""

    @abstractmethod
    def write(self, start: int, data: bytes) -> None:
        """Raises OutOfBounds, and then has written nothing."""


def define(
    linker: wasmtime.Linker, module: str, name: str, parameters: int, function: HostFunction, *, failed: int
) -> None:
    """Adds a function to a linker, or puts it in the place of another. `failed` is its result where it raises."""
    if abi.fits():
        from . import host_capi

        host_capi.define(linker, module, name, parameters, function, failed)
    else:
        from . import host_public

        host_public.define(linker, module, name, parameters, function, failed)


def call(
    function: HostFunction, find_memory: Callable[[Any], Memory | None], caller: Any, arguments: list[int], failed: int
) -> int:
    """Never raises: an exception would be printed past the log, and the guest would read its own argument."""
    try:
        invocation = current.invocation
        if invocation is None:
            return failed
        invocation.count_host_call()
        return function(invocation, find_memory(caller), arguments)
    except Exception:
        logger.exception("a host function failed")
        return failed
