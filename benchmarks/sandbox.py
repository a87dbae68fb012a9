"""The gateway's sandbox without a server: its entry to the C API, and a whole execution with the hop to a thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.context import ExecutionContext
from wagi_gateway.sandbox.pipes import descriptor_path, open_pipe, read_available
from wagi_gateway.sandbox.sandbox import Sandbox
from wagi_gateway.site.site import Site

from .calls import BareCalls
from .request import maker


class SandboxLoops:
    """Runs the hello guest again and again; each method returns microseconds per guest."""

    def __init__(self, site: Site, reader: int, writer: int) -> None:
        self._site = site
        self._reader, self._path = reader, descriptor_path(writer)
        self._run = choose().run
        self.bare = BareCalls(site, reader, self._path, is_on_loop=True)
        """The calls of `entry`."""
        self.bare_on_a_thread = BareCalls(site, reader, self._path, is_on_loop=False)
        """The calls of `on_a_thread`."""
        self._invocation = maker(site)

    def entry(self, count: int) -> float:
        """The sandbox's entry to the C API for a guest on the event loop's thread, its invocation included."""
        return self._loop(count, is_on_loop=True)

    def on_a_thread(self, count: int) -> float:
        """The same for a guest on a thread of its own; here on this one."""
        return self._loop(count, is_on_loop=False)

    def _loop(self, count: int, *, is_on_loop: bool) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            context = ExecutionContext(self._invocation())
            context.is_inline = is_on_loop
            self._run(self._site.engine, context, self._path, self._path)
            assert read_available(self._reader)
        return (time.perf_counter() - begin) / count * 1e6

    def execution(self, count: int) -> float:
        """Start, read and release, as the gateway does it."""
        return asyncio.run(self._execution(count))

    async def _execution(self, count: int) -> float:
        async with Sandbox(self._site.engine) as sandbox:
            begin = time.perf_counter()
            for _ in range(count):
                execution = sandbox.start(self._invocation())
                while await execution.read():
                    pass
                execution.release()
            return (time.perf_counter() - begin) / count * 1e6


@contextlib.contextmanager
def sandbox_loops(site: Site) -> Iterator[SandboxLoops]:
    """The loops, with the pipe they write to."""
    with contextlib.ExitStack() as stack:
        yield SandboxLoops(site, *open_pipe(stack))
