"""The threads guests run on: few while guests are quick, one for each as soon as one is not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from ..compiler import MAX_WASM_STACK

_STACK = MAX_WASM_STACK + 3 * 2**20
"""Bytes of a thread's stack: what a guest may use of it before it traps, and what the calls around it need."""
_IDLE = 10.0
"""Seconds after which a thread beyond the first few ends."""


class Threads:
    """Runs jobs from one queue.

    A thread that has just finished a guest takes the next without being woken, which halves the cost of a request; with
    a thread for each guest every one of them would sleep and wake. So a guest may wait behind a quick one; the caller
    asks for more threads when one turns out not to be quick.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._few = min(4, os.cpu_count() or 1)
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Has `job`, which must not raise, run soon. Raises RuntimeError if there is no thread and none can be had."""
        if self._count < self._few:
            try:
                self.grow(self._count + 1)
            except RuntimeError:
                if not self._count:
                    raise
        self._jobs.put(job)

    def grow(self, count: int) -> None:
        """Has at least `count` threads. May be called from any thread. Raises RuntimeError where the system gives no
        more."""
        with self._lock:
            while self._count < count:
                default = threading.stack_size(_STACK)
                try:
                    threading.Thread(target=self._work, name="guest", daemon=True).start()
                finally:
                    threading.stack_size(default)
                self._count += 1

    def close(self) -> None:
        """Has the threads end once their guests have."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except Empty:
                if self._may_end():
                    return
                continue
            if job is None:
                return
            job()

    def _may_end(self) -> bool:
        with self._lock:
            if self._count <= self._few or not self._jobs.empty():
                return False
            self._count -= 1
            return True
