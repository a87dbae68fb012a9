"""Admission control: bounded concurrency with a FIFO queue for each module, under one bound for the worker."""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import AtCapacity


class WorkerLimit:
    """The number of guests that one worker runs at once (`server.concurrency`), shared by its modules."""

    def __init__(self, concurrency: int) -> None:
        self.free = concurrency
        self._waiting: deque[ModuleLimit] = deque()

    def wait(self, module_limit: ModuleLimit) -> None:
        """Queues a module that is below its own limit and has a request waiting."""
        if module_limit not in self._waiting:
            self._waiting.append(module_limit)

    def admit(self) -> None:
        """Admits requests while the worker is below its limit: one of each queued module in turn."""
        while self.free and self._waiting:
            self._waiting.popleft().admit()


class ModuleLimit:
    """The number of guests that one module runs at once (`limits.concurrency`), and its queue in order of arrival.

    Belongs to the event loop.
    """

    def __init__(self, worker_limit: WorkerLimit, concurrency: int, queue: int, queue_time: float) -> None:
        """`queue` is the number of requests that may wait, `queue_time` how long one may, in seconds."""
        self._worker_limit = worker_limit
        self._concurrency = concurrency
        self._free = concurrency
        self._queue = queue
        self._queue_time = queue_time
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def running(self) -> int:
        """Requests that have entered."""
        return self._concurrency - self._free

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Enters without waiting: only below both limits and with an empty queue. Returns whether it has."""
        if self._waiting or not self._free or not self._worker_limit.free:
            return False
        self._enter()
        return True

    async def enter(self) -> None:
        """Enters, after waiting in the queue if need be. Raises AtCapacity."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._queue:
            raise AtCapacity(f"{self._queue} requests wait already", limit="queue")
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(admitted)
        self._request_admission()
        try:
            async with asyncio.timeout(self._queue_time):
                await admitted
        except BaseException as error:
            if admitted in self._waiting:
                self._waiting.remove(admitted)
            elif not admitted.cancelled():  # admitted at the moment of the timeout or cancellation
                self.leave()
            if isinstance(error, TimeoutError):
                raise AtCapacity(f"no place became free in {self._queue_time:g} s", limit="queue_time") from None
            raise

    def leave(self) -> None:
        """Leaves, which admits the next request."""
        self._free += 1
        self._worker_limit.free += 1
        if self._waiting:
            self._request_admission()
        self._worker_limit.admit()

    def admit(self) -> None:
        """Admits the first request of the queue, if the module is below its limit. The worker is below its own."""
        while self._waiting and self._free:
            admitted = self._waiting.popleft()
            if not admitted.done():
                self._enter()
                admitted.set_result(None)
                break
        self._request_admission()

    def _request_admission(self) -> None:
        if self._waiting and self._free:
            self._worker_limit.wait(self)

    def _enter(self) -> None:
        self._free -= 1
        self._worker_limit.free -= 1
