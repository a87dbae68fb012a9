"""Which of the two paths guests are run on: the hot one, or wasmtime's public API."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import wasmtime

from ..compiler import abi
from . import public
from .invocation import Invocation, Outcome

Run = Callable[[wasmtime.Engine, Invocation, bytes, bytes], Outcome]
"""Runs a guest to its end on this thread; engine, invocation, and the paths of its pipes."""


class Backend(NamedTuple):
    """How guests are run."""

    run: Run
    gives_way: bool
    """Whether a guest can be ended after a moment, so that it may run on the event loop's thread."""


def choose_path() -> Backend:
    """The hot path, which is imported only where it may be used, or the other one."""
    if not abi.fits():
        return Backend(public.run, gives_way=False)
    from . import capi

    return Backend(capi.run, gives_way=True)
