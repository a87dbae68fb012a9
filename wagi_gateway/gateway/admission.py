"""Who may run now, who waits, and who is turned away."""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import AtCapacity


class WorkerLimit:
    """The sandboxes of one worker, shared by the gates of all modules."""

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiting: deque[ModuleLimit] = deque()

    def wait(self, module_limit: ModuleLimit) -> None:
        """`module_limit` has a request that lacks nothing but a place."""
        if module_limit not in self._waiting:
            self._waiting.append(module_limit)

    def give(self) -> None:
        """Hands out what is free; the gates that wait take turns, one request each."""
        while self.free and self._waiting:
            self._waiting.popleft().admit()


class ModuleLimit:
    """One module's bounded concurrency, with a bounded queue in order of arrival. Belongs to the event loop."""

    def __init__(self, worker_limit: WorkerLimit, concurrency: int, queue: int, queue_time: float) -> None:
        self._worker_limit = worker_limit
        self._concurrency = concurrency
        self._free = concurrency
        self._queue = queue
        self._queue_time = queue_time
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def load(self) -> tuple[int, int]:
        """How many are inside, and how many wait."""
        return self._concurrency - self._free, len(self._waiting)

    def try_enter(self) -> bool:
        """Takes a place if one is free and nobody waits."""
        if self._waiting or not self._free or not self._worker_limit.free:
            return False
        self._take()
        return True

    async def enter(self) -> None:
        """Takes a place, after waiting for it if need be. Raises AtCapacity."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._queue:
            raise AtCapacity(f"{self._queue} requests wait already", limit="queue")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._seek()
        try:
            async with asyncio.timeout(self._queue_time):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():  # the turn came in the moment of giving up
                self.leave()
            if isinstance(error, TimeoutError):
                raise AtCapacity(f"no place became free in {self._queue_time:g} s", limit="queue_time") from None
            raise

    def leave(self) -> None:
        """Gives the place back."""
        self._free += 1
        self._worker_limit.free += 1
        self._seek()
        self._worker_limit.give()

    def admit(self) -> None:
        """Lets in the first who waits. There is a free place."""
        while self._waiting and self._free:
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)
                break
        self._seek()

    def _seek(self) -> None:
        if self._waiting and self._free:
            self._worker_limit.wait(self)

    def _take(self) -> None:
        self._free -= 1
        self._worker_limit.free -= 1
