"""The WASI function `proc_exit`: wasmtime's own refuses the codes from 126 on. Source: WASI preview 1, `proc_exit`."""

from __future__ import annotations

from .context import ExecutionContext, Unwind

_MAX_EXIT_CODE = 255


def proc_exit(context: ExecutionContext, code: int) -> int:
    """Ends the guest. A code above 255 counts as its low byte, as in POSIX, but not as success."""
    context.exit_code = code if code <= _MAX_EXIT_CODE else code & _MAX_EXIT_CODE or _MAX_EXIT_CODE
    raise Unwind
