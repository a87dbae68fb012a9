"""The client at the other end: whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import Receive

from ..errors import ClientDisconnect

T = TypeVar("T")


class Client:
    """Looks for a disconnect once the request's body has been read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    async def unless_gone(self, awaitable: Awaitable[T]) -> T:
        """Awaits, but no longer than the client does. Raises ClientDisconnect."""
        waiting = asyncio.ensure_future(awaitable)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise ClientDisconnect
        finally:
            gone.cancel()
            waiting.cancel()

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Has `on_gone` called when the client leaves, until `forget`."""
        self._watch = asyncio.get_running_loop().create_task(self._call_when_gone(on_gone))

    def forget(self) -> None:
        """What the client does is of no more interest."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _call_when_gone(self, on_gone: Callable[[], None]) -> None:
        await self._gone()
        on_gone()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
