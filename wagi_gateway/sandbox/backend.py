"""The backend that runs guests: wasmtime's C API, or the public API where another release of wasmtime is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import wasmtime

from ..compiler import abi
from ..compiler.compiler import DefineMissing
from . import public
from .context import ExecutionContext
from .host import HostImport
from .invocation import Outcome

Run = Callable[[wasmtime.Engine, ExecutionContext], Outcome]
"""Runs a guest to its end on this thread. Never raises."""
Define = Callable[[wasmtime.Linker, HostImport], None]
"""Adds a host function to a linker, or replaces the function of that name."""


class Backend(NamedTuple):
    """How guests are run and host functions defined."""

    run: Run
    """Runs a core module."""
    run_component: Run
    define: Define
    define_missing: DefineMissing
    tick: Callable[[], None]
    """Called at each epoch, from any thread."""
    can_run_inline: bool
    """Whether an epoch ends a guest after a few milliseconds, so that it may run on the event loop's thread."""


def _nothing() -> None:
    pass


def choose() -> Backend:
    """Returns the C API's backend where the installed wasmtime has the ABI it was written for, else the public API's.

    `capi` and `component` are imported here alone: their import binds functions by name, which another release may not
    have.
    """
    if not abi.has_known_abi():
        return Backend(public.run, public.run, public.define, public.define_missing, public.tick, can_run_inline=False)
    from . import capi, component

    return Backend(capi.run, component.run, capi.define, capi.define_missing, _nothing, can_run_inline=True)
