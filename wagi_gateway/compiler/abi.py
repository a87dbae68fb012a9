"""Which release of wasmtime the hot path is written for, and what it means that another one is installed."""

from __future__ import annotations

import importlib.metadata

WASMTIME_VERSION = importlib.metadata.version("wasmtime")
"""What is installed."""

ABI_VERSION = "50.0.1"
"""What `sandbox.capi` is written for, and the pool of `compiler`."""


def fits() -> bool:
    """Whether the C API may be called past wasmtime's public one; with another ABI that would corrupt memory.

    Asked before a module that binds the C API is imported, because in another release a function may be missing.
    """
    return WASMTIME_VERSION == ABI_VERSION


def warning() -> str | None:
    """What the operator should know, where the hot path may not be used."""
    if fits():
        return None
    return (
        f"wasmtime {WASMTIME_VERSION} is installed, {ABI_VERSION} is wanted: guests run through the public API, which "
        f"costs each request 0.4 ms more, or so; pip install wasmtime=={ABI_VERSION}"
    )
