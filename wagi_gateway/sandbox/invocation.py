"""What a guest is given, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..cgi.environ import Environ
from ..compiler.compiler import WarmModule
from ..config.settings import Limits

if TYPE_CHECKING:  # httpcore is imported with the first module that makes calls
    from ..outbound.session import OutboundSession

StopReason = Literal["time", "stdout", "disconnect", "shutdown", "descriptors"]
End = Literal["exit", "trap", "stopped", "failed", "starved"]


class GuestVolume(NamedTuple):
    """A preopened directory."""

    host: bytes
    """The path of the directory on the host."""
    guest: bytes
    """The path under which the guest sees the directory."""
    is_writable: bool


def _discard(_data: bytes) -> None:
    pass


@dataclass(slots=True)
class Invocation:
    """The input of one guest: module, entrypoint, limits, and everything the guest may read or call."""

    module: WarmModule
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

    `exit` with the guest's exit code, `trap` with wasmtime's message, `stopped` with the StopReason, `failed` where the
    guest could not be run, or `starved` where the system lacked a resource that the guest needs.
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

    @property
    def trap(self) -> str:
        """The trap's message without the backtrace around it."""
        return self.message.rpartition("Caused by:")[2].strip().removeprefix("wasm trap: ") or self.message

    @property
    def was_interrupted(self) -> bool:
        """Whether an epoch ended the guest."""
        return self.kind == "trap" and self.trap == "interrupt"
