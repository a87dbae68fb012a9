"""The threads that run guests: few while guests are fast, one for each running guest once a guest is slow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from .stack import GUEST_STACK


class ThreadPool:
    """Runs jobs from one queue.

    A thread that has just finished a guest takes the next job without a wake-up, which halves the cost of a request;
    with a thread for each guest every guest would cost a sleep and a wake-up. So a guest may wait behind a fast one,
    and the caller grows the pool when a guest turns out to be slow.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._few = min(4, os.cpu_count() or 1)
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Queues `job`, which must not raise. Raises RuntimeError if the pool has no thread and cannot start one."""
        if self._count < self._few:
            try:
                self.grow(self._count + 1)
            except RuntimeError:
                if not self._count:
                    raise
        self._jobs.put(job)

    def grow(self, count: int) -> None:
        """Starts threads until there are `count`. May be called from any thread. Raises RuntimeError where the system
        refuses another thread."""
        with self._lock:
            while self._count < count:
                default = threading.stack_size(GUEST_STACK)
                try:
                    threading.Thread(target=self._work, name="guest", daemon=True).start()
                finally:
                    threading.stack_size(default)
                self._count += 1

    def shrink(self, count: int) -> None:
        """Ends threads beyond `count`, but keeps the first few. May be called from any thread.

        A thread cannot detect by itself that it is idle: the queue gives each job to the thread that waits longest, so
        that even a few jobs keep all threads alive, and with them the stacks that guests have used.
        """
        with self._lock:
            while self._count > max(count, self._few):
                self._count -= 1
                self._jobs.put(None)

    def close(self) -> None:
        """Ends each thread once its guest has ended."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
            del job  # an idle thread would keep the job's guest alive, with its request and its module
