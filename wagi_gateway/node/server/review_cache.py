"""Answers of the API server's reviews, kept for a short time, and each asked for once at a time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

A = TypeVar("A")

MAX_ANSWERS = 1024
"""Answers that are kept; the oldest ones go first."""
_MAX_REVIEWS = 8
"""Reviews that are under way at a time: clients could otherwise have the node flood the API server."""


class ReviewCache(Generic[A]):
    """Answers by key."""

    def __init__(self, lifetime: Callable[[A], float], clock: Callable[[], float] = time.monotonic) -> None:
        """`lifetime` is the time in seconds for which an answer holds."""
        self._lifetime = lifetime
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, A]] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Task[A]] = {}
        self._turns = asyncio.Semaphore(_MAX_REVIEWS)

    async def get(self, key: Hashable, review: Callable[[], Awaitable[A]]) -> A:
        """The answer that is kept, or else that of `review`, whose exceptions are raised and not kept."""
        if found := self._kept(key):
            return found[1]
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._ask(key, review))
        return await asyncio.shield(self._under_way[key])  # another request may wait for it, too

    async def _ask(self, key: Hashable, review: Callable[[], Awaitable[A]]) -> A:
        try:
            async with self._turns:
                answer = await review()
        finally:
            del self._under_way[key]
        self._answers.pop(key, None)
        self._answers[key] = (self._clock() + self._lifetime(answer), answer)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return answer

    def _kept(self, key: Hashable) -> tuple[float, A] | None:
        found = self._answers.get(key)
        return found if found and found[0] > self._clock() else None
