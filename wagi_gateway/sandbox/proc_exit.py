"""The WASI function `proc_exit`, and the exit codes of guests: wasmtime's own refuses the codes from 126 on.

Source: WASI preview 1, `proc_exit`.
"""

from __future__ import annotations

from .context import ExecutionContext, Unwind

_MAX_EXIT_CODE = 255


def proc_exit(context: ExecutionContext, code: int) -> int:
    """Ends the guest with an exit code."""
    context.exit_code = exit_code(code)
    raise Unwind


def exit_code(value: int) -> int:
    """The exit code of an i32. One that is negative or above 255 counts as its low byte, as in POSIX, but not as
    success."""
    return value if 0 <= value <= _MAX_EXIT_CODE else value & _MAX_EXIT_CODE or _MAX_EXIT_CODE
