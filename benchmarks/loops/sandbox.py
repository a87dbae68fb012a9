"""The gateway's sandbox without a server: its entry to the C API, and a whole guest with start, read and release."""

from __future__ import annotations

import asyncio
import time

from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.site.site import Site

from .calls import BareCalls
from .request import invocation_factory


class SandboxLoops:
    """Loops over the hello guest; each method returns microseconds of processor time per guest."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._run = choose().run
        self.bare = BareCalls(site, is_inline=True)
        """The C API calls of `entry` alone."""
        self.bare_on_a_thread = BareCalls(site, is_inline=False)
        """The C API calls of `on_a_thread` alone."""
        self._invocation = invocation_factory(site)

    def entry(self, count: int) -> float:
        """The entry to the C API for a guest on the event loop's thread, with the construction of its invocation."""
        return self._loop(count, is_inline=True)

    def on_a_thread(self, count: int) -> float:
        """The entry to the C API for a guest on a thread, called on this thread."""
        return self._loop(count, is_inline=False)

    def _loop(self, count: int, *, is_inline: bool) -> float:
        begin = time.process_time()
        for _ in range(count):
            context = ExecutionContext(self._invocation())
            context.is_inline = is_inline
            self._run(self._site.engine, context)
            assert context.streams.take_stdout()
        return (time.process_time() - begin) / count * 1e6

    def guest(self, count: int) -> float:
        """Start, read and release, as in the gateway."""
        return asyncio.run(self._guest(count))

    async def _guest(self, count: int) -> float:
        async with Sandbox(self._site.engine) as sandbox:
            begin = time.process_time()
            for _ in range(count):
                guest = sandbox.start(self._invocation())
                while await guest.read():
                    pass
                guest.release()
            return (time.process_time() - begin) / count * 1e6
