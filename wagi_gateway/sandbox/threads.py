"""The threads guests run on: few while guests are quick, one for each as soon as one is not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from ..compiler.engine import MAX_WASM_STACK

_STACK = MAX_WASM_STACK + 3 * 2**20
"""Bytes of a thread's stack: what a guest may use of it before it traps, and what the calls around it need."""


class ThreadPool:
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

    def shrink(self, count: int) -> None:
        """Has threads end that are more than `count` and more than the first few. May be called from any thread.

        A thread cannot find out by itself that it is not needed: jobs go to the one that has waited longest, so that
        even a few of them keep all threads from being idle for long, and with them the stacks that guests have used.
        """
        with self._lock:
            while self._count > max(count, self._few):
                self._count -= 1
                self._jobs.put(None)

    def close(self) -> None:
        """Has the threads end once their guests have."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
