"""A compiled module, as it is kept between requests."""

from __future__ import annotations

from dataclasses import dataclass

import wasmtime

from .component import WarmComponent
from .externs import Import
from .serialized_module import SerializedModule


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmModule:
    """A compiled and linked module, which is instantiated once for each request."""

    name: str
    digest: str
    module: wasmtime.Module
    import_names: tuple[tuple[str, str], ...]
    """Module and name of each import, in order."""
    instance_pre: wasmtime.InstancePre | None
    """The linked module; None for a module that is linked for each guest, because its guests have files."""
    functions: frozenset[str]
    """Exported functions without parameters that return nothing or an exit code: the possible entrypoints."""
    functions_with_code: frozenset[bytes]
    """The entrypoints that return an exit code, an i32."""
    exports: tuple[str, ...]
    """All exported functions."""
    is_reactor: bool
    """Whether `_initialize` has to be called before the entrypoint (WASI application ABI)."""
    start: bytes | None
    """The export to call before all others; None where the module has no start function, or wasmtime calls it."""
    imports: frozenset[str]
    """The import modules, such as `wasi_snapshot_preview1`."""
    missing: tuple[Import, ...]
    """The imported functions that the gateway does not provide: a call of one traps."""
    needs_wasi: bool
    """Whether the module calls a function of wasmtime's WASI, which needs a context in the store."""
    is_interruptible: bool
    """Whether a guest reaches an epoch check, where it can be ended, at short intervals: no imported function waits or
    works for long, nor does an instruction, and no function body is long enough for very many calls in a row."""
    serialized: SerializedModule | None
    """The module for the public API, which needs an engine for each guest; None with the C API backend."""


WarmGuest = WarmModule | WarmComponent
"""What is instantiated for each request: a core module or a command component."""
