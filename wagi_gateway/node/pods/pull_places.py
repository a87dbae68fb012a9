"""The places for pulls: threads of their own, of which no namespace has all."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakValueDictionary

R = TypeVar("R")

MAX_PULLS = 4
"""Concurrent pulls of the node."""
MAX_NAMESPACE_PULLS = 3
"""Those of one namespace: a registry may take its time, and its images belong to the author of a Pod."""


class PullPlaces:
    """Runs pulls in threads that do not keep the node from ending.

    A pull whose Pod is gone has its place until it ends: no other thread can end it, and one after the other would
    take up all threads otherwise.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_PULLS)
        self._of_namespaces: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, namespace: str, pull: Callable[[], R]) -> R:
        """The result of a pull, once there is a place for it. Raises what it raises, and RuntimeError without room."""
        own = self._of_namespaces.setdefault(namespace, asyncio.Semaphore(MAX_NAMESPACE_PULLS))
        await own.acquire()
        try:
            await self._places.acquire()
        except BaseException:
            own.release()
            raise
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()

        def finish(take: Callable[[], object] = lambda: None) -> None:
            self._places.release()
            own.release()
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


def _setting(take: Callable[[R], object], value: R) -> Callable[[], object]:
    return lambda: take(value)
