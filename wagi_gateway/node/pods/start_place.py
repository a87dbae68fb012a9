"""The place of a gateway among those of the node that start at the same time."""

from __future__ import annotations

import asyncio
import contextlib

_LONGEST = 20.0
"""Seconds for which a gateway that starts has a place; a long compilation keeps no other Pod waiting."""


class StartPlace:
    """One of the places of a semaphore, which is given back once."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._is_held = False

    async def take(self) -> None:
        """Waits for a place."""
        await self._places.acquire()
        self._is_held = True

    def leave(self) -> None:
        """Gives the place back. May be called again."""
        if self._is_held:
            self._is_held = False
            self._places.release()

    async def leave_after(self, event: asyncio.Event) -> None:
        """Gives the place back after an event, or when it takes long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                await event.wait()
        self.leave()
