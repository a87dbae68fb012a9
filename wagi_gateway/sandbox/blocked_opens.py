"""The end of an open(2) that blocks: of a FIFO that a guest has put in a file's place after the file's type was read.

wasmtime opens files on threads of its own. A signal whose handler returns makes the call fail there with EINTR, which
the guest gets as its error. SIGURG is ignored by default, and no other part of the gateway uses it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

_SIGNAL = signal.SIGURG
_THREADS = "tokio-rt-worker"
"""The name of wasmtime's threads."""
_libc = ctypes.CDLL(None)


def allow_interrupts() -> None:
    """Installs the handler. Does nothing on a thread other than the main one, where Python allows none."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(_SIGNAL) in (signal.SIG_DFL, None):
        signal.signal(_SIGNAL, lambda *_: None)
        signal.siginterrupt(_SIGNAL, True)


def interrupt_opens() -> None:
    """Interrupts the system calls of wasmtime's threads. May be called from any thread."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError, AttributeError):  # the thread has ended; a C library without tgkill
            if (task / "comm").read_text().strip() == _THREADS:
                _libc.tgkill(os.getpid(), int(task.name), _SIGNAL)
