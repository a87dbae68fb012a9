"""What a guest is given, and how it ended."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..cgi.environ import Environ
from ..compiler.warm_module import WarmGuest, WarmModule
from ..config.settings import Limits
from .backtrace import Frame

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.session import OutboundSession

StopReason = Literal["time", "stdout", "disconnect", "shutdown", "descriptors", "temporary"]
End = Literal["exit", "trap", "stopped", "failed", "starved"]


class GuestVolume(NamedTuple):
    """A preopened directory."""

    host: bytes
    """The path of the directory on the host."""
    guest: bytes
    """The path under which the guest sees the directory."""
    is_writable: bool


class OpenedFile(NamedTuple):
    """A `path_open` of a guest."""

    path: bytes
    """The path as the guest sees it."""
    is_written: bool
    """Whether the guest asked for the right to write."""
    error: int
    """The `errno` of WASI preview 1; 0 for a file that was opened."""


@dataclass(slots=True)
class Measurement:
    """What is measured of a guest beside its outcome."""

    on_open: Callable[[OpenedFile], None]
    """Called on the guest's thread with each file that the guest opens in a volume (C API backend)."""
    instantiated_ns: int = 0
    """The moment on the monotonic clock, in nanoseconds, at which the guest was instantiated; 0 before."""


def _discard(_data: bytes) -> None:
    pass


@dataclass(slots=True)
class Invocation:
    """The input of one guest: module, entrypoint, limits, and everything the guest may read or call."""

    module: WarmGuest
    entrypoint: bytes | None
    """The exported function to call; None instantiates the module and calls nothing."""
    limits: Limits
    argv: list[bytes]
    environ: Environ | Callable[[], Environ]
    """The environment, or a function that builds it once the guest reads it, on the guest's thread."""
    stdin: bytes | int = b""
    """The request body, or the descriptor of a file that holds the body."""
    volumes: tuple[GuestVolume, ...] = ()
    on_stderr: Callable[[bytes], None] = _discard
    """Called on the event loop with each piece of standard error."""
    outbound: OutboundSession | None = None
    """The outbound calls of the request; None denies every call."""
    measurement: Measurement | None = None
    """What `dev` measures; with it the outcome has the memory of every guest, and not of a failed one alone."""

    @property
    def entrypoints(self) -> tuple[bytes, ...]:
        """The exported functions to call, in order: those of a reactor begin with `_initialize`."""
        return _entrypoints(self.module.start, self.module.is_reactor, self.entrypoint)


@lru_cache(maxsize=1024)
def _entrypoints(start: bytes | None, is_reactor: bool, entrypoint: bytes | None) -> tuple[bytes, ...]:
    initialize = b"_initialize" if is_reactor and entrypoint else None
    return tuple(name for name in (start, initialize, entrypoint) if name)


class Outcome(NamedTuple):
    """How a guest ended.

    `exit` with the guest's exit code, `trap` with its cause in wasmtime's words, `stopped` with the StopReason,
    `failed` where the guest could not be run, or `starved` where the system lacked a resource that the guest needs.
    """

    kind: End
    code: int = 0
    message: str = ""
    seconds: float = 0.0
    """Wall time in the sandbox."""
    was_short_of_memory: bool = False
    """Whether the guest failed with more than half of `limits.memory` in use. wasmtime does not report a refused
    `memory.grow`; most allocators double their memory, so a guest that fails beyond the half has most likely been
    refused."""
    memory: int = 0
    """Bytes of memory in use at the end of a failed guest, or with a `measurement`."""
    frames: tuple[Frame, ...] = ()
    """The functions that were running when a trap or the gateway ended the guest, the innermost first."""

    @property
    def trap(self) -> str:
        """The kind of trap: the message without the address of a memory fault."""
        return self.message.partition(" (")[0]

    @property
    def was_interrupted(self) -> bool:
        """Whether an epoch ended the guest."""
        return self.kind == "trap" and self.trap == "interrupt"


core_module: Callable[[Invocation], WarmModule] = operator.attrgetter("module")
"""The module of an invocation that is known to be no component."""
