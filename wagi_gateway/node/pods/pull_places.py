"""The places for pulls: threads of their own, which the namespaces share fairly."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

MAX_PULLS = 6
"""Concurrent pulls of the node; a namespace alone has half of them."""


class PullPlaces:
    """Runs pulls in threads that do not keep the node from ending.

    A registry may take its time, and its images belong to the author of a Pod: a namespace gets another place only
    while more places are free than it has, so that a few namespaces together leave one to the next. A pull whose Pod is
    gone has its place until it ends: no other thread can end it, and one after the other would take up all threads
    otherwise.
    """

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """The pulls that wait, by namespace; the namespace that got the latest place is the last one."""

    def count(self, namespace: str) -> int:
        """The places that a namespace has."""
        return self._running[namespace]

    async def run(self, namespace: str, pull: Callable[[], R]) -> R:
        """The result of a pull, once there is a place for it. Raises what it raises, and RuntimeError without room."""
        await self._take(namespace)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()

        def finish(take: Callable[[], object] = lambda: None) -> None:
            self._leave(namespace)
            if not done.done():
                take()

        def work() -> None:
            try:
                result = pull()
            except BaseException as error:  # noqa: BLE001 - it is raised where the pull is awaited
                end = _setting(done.set_exception, error)
            else:
                end = _setting(done.set_result, result)
            with contextlib.suppress(RuntimeError):  # the node has ended meanwhile
                loop.call_soon_threadsafe(finish, end)

        try:
            threading.Thread(target=work, name="pull", daemon=True).start()
        except RuntimeError:
            finish()
            raise
        return await done

    async def _take(self, namespace: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, deque()).append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(namespace, turn)
            else:  # the place came at the same time
                self._leave(namespace)
            raise

    def _leave(self, namespace: str) -> None:
        self._running[namespace] -= 1
        self._running += Counter()  # without the namespaces that have none
        self._admit()

    def _admit(self) -> None:
        """Gives the free places to the namespaces in turn, those with the fewest places first."""
        while self._waiting:
            namespace = min(self._waiting, key=lambda one: self._running[one])
            if self._running[namespace] >= MAX_PULLS - self._running.total():
                return
            turn = self._waiting[namespace][0]
            self._forget(namespace, turn)
            if namespace in self._waiting:
                self._waiting[namespace] = self._waiting.pop(namespace)
            if not turn.done():
                self._running[namespace] += 1
                turn.set_result(None)

    def _forget(self, namespace: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(namespace)
        if waiting and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[namespace]


def _setting(take: Callable[[R], object], value: R) -> Callable[[], object]:
    return lambda: take(value)
