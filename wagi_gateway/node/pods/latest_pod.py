"""A Pod as the API last showed it, which its gateway follows."""

from __future__ import annotations

import asyncio
import contextlib

from ..api import Object
from .definition import definition_of


class LatestPod:
    """The latest version of a Pod."""

    def __init__(self, pod: Object) -> None:
        self.pod = pod
        self._modified = asyncio.Event()

    def update(self, pod: Object) -> None:
        """Takes another version."""
        self.pod = pod
        self._modified.set()

    async def until_redefined(self, definition: str) -> None:
        """Waits for another definition than this one: each status that is written is a modification too."""
        while definition_of(self.pod) == definition:
            self._modified.clear()
            await self._modified.wait()

    async def pause(self, seconds: float, definition: str) -> None:
        """Waits, but for no longer than until there is another definition, which may be the mended one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.until_redefined(definition)
