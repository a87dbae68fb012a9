"""Which of the two paths guests are run on: the hot one, or wasmtime's public API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

import wasmtime

from .. import abi
from . import public
from .invocation import Invocation, Outcome

Run = Callable[[wasmtime.Engine, Invocation, bytes, bytes], Outcome]
"""Runs a guest to its end on this thread; engine, invocation, and the paths of its pipes."""


class Steps(Protocol):
    """Runs guests that can pause, one after the other."""

    def begin(self, invocation: Invocation) -> Outcome | None:
        """Takes a guest's first step. How it ended, or None where it pauses."""

    def finish(self) -> Outcome:
        """Takes what steps there are to the guest's end."""


class Path(NamedTuple):
    """How guests are run."""

    run: Run
    steps: Callable[[wasmtime.Engine, bytes, bytes], Steps] | None
    """How they are run on the event loop's thread; None where they cannot be."""


def choose_path() -> Path:
    """The hot path, which is imported only where it may be used, or the other one."""
    if not abi.fits():
        return Path(public.run, None)
    from . import capi

    # A guest that can pause has a stack of its own, and newer Pythons want to know the stack they are called on.
    return Path(capi.run, capi.Steps if sys.version_info < (3, 14) else None)
