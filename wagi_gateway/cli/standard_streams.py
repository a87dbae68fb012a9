"""Standard input, output and error of a process that was started without them, or with a narrow encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def complete() -> None:
    """Opens /dev/null in place of closed standard streams, and escapes characters that an encoding lacks.

    Sockets and files would get the descriptors 0 to 2, which libuv does not close and libraries write errors to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    # Python leaves out a stream whose descriptor was closed when it started.
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_unwritten_errors() -> None:
    """Drops what a full standard error has not taken: the interpreter would exit with 120 for it."""
    with contextlib.suppress(AttributeError, ValueError):
        try:
            sys.stderr.flush()
        except OSError:
            sys.stderr = None
