"""WASI 0.2 for components: wasmtime's own, with functions in the place of those that would wait past the deadline.

A sleep of wasmtime's `wasi:io/poll` is not ended by an epoch. So `poll` and `pollable.block` are replaced: they wait in
slices, and the guest ends after one of them. The waiting is done by wasmtime's own `poll`, which the host cannot call:
a component of a few lines calls it, an instance beside the guest in the same store.
Sources: WASI 0.2, `wasi:io/poll`, `wasi:sockets`.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import wasmtime
from wasmtime.component import Linker

_linkers: WeakKeyDictionary[wasmtime.Engine, Linker] = WeakKeyDictionary()


def component_linker(engine: wasmtime.Engine) -> object:
    """The linker of an engine, with WASI 0.2."""
    if engine not in _linkers:
        linker = Linker(engine)
        linker.add_wasip2()
        _linkers[engine] = linker
    return _linkers[engine].ptr()
