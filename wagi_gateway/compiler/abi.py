"""The release of wasmtime whose C ABI the C API backend uses."""

from __future__ import annotations

import importlib.metadata

WASMTIME_VERSION = importlib.metadata.version("wasmtime")
"""The installed release."""

ABI_VERSION = "50.0.1"
"""The release that `sandbox.capi` and the pool of `compiler.engine` are written for."""


def has_known_abi() -> bool:
    """Whether the C API may be called past wasmtime's public API; with another ABI such a call corrupts memory.

    Checked before a module that binds the C API is imported, because another release may lack a function.
    """
    return WASMTIME_VERSION == ABI_VERSION


def warning() -> str | None:
    """A warning for the operator where the C API backend cannot be used, else None."""
    if has_known_abi():
        return None
    return (
        f"wasmtime {WASMTIME_VERSION} is installed, {ABI_VERSION} is wanted: guests run through the public API, which "
        f"costs each request 0.4 ms more, or so; pip install wasmtime=={ABI_VERSION}"
    )
