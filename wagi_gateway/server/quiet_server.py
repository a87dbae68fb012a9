"""uvicorn's server with fewer wake-ups: a node of a Kubernetes cluster has two servers for each of its Pods."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

import uvicorn

_LATE = 0.01
"""Seconds after the beginning of a second: a timer may be early."""


class QuietServer(uvicorn.Server):
    """Wakes once a second for the Date field, and at once when `should_exit` is set; uvicorn's wakes ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._is_over = False
        self._wake: Callable[[], object] | None = None
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether the server is to end. Set on any thread, and by signal handlers."""
        return self._is_over

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._is_over = value
        if value and self._wake:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._wake()

    async def main_loop(self) -> None:
        """Ticks until the server is to end."""
        woken = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, woken.set)
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 - time.time() % 1 + _LATE):
                    await woken.wait()
