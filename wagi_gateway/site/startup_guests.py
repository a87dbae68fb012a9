"""Guests that run at start-up: whether a module can be instantiated, and which routes it prints."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import wasmtime

from ..compiler.compiler import WarmModule
from ..config.settings import Limits
from ..observe.guest_log import GuestLog
from ..sandbox import Invocation, Sandbox

_MAX_OUTPUT = 1024 * 1024


def instantiate(engine: wasmtime.Engine, module: WarmModule, limits: Limits) -> str | None:
    """Tries a module under its limits; what went wrong, if anything did."""
    return _run(engine, Invocation(module, None, limits=limits, argv=[], environ={}))[1]


def print_routes(
    engine: wasmtime.Engine, module: WarmModule, limits: Limits, route: str
) -> tuple[list[tuple[str, str]], list[str]]:
    """Calls `_routes` and reads what it prints: a path and an entrypoint on each line. Then what is wrong with it."""
    log = GuestLog(route, "startup")
    invocation = Invocation(module, b"_routes", limits=limits, argv=[], environ={}, on_stderr=log.feed)
    output, failure = _run(engine, invocation)
    log.close()
    if failure is not None:
        return [], [failure]
    if not output.strip():
        return [], ["it printed nothing; a line is a path and an entrypoint"]
    pairs, problems = [], []
    for line in output.decode("utf-8", "backslashreplace").split("\n"):
        columns = line.split()
        if len(columns) == 2:
            pairs.append((columns[0], columns[1]))
        elif line:
            problems.append(f'it printed "{line}"; a line is a path and an entrypoint')
    return pairs, problems


def _run(engine: wasmtime.Engine, invocation: Invocation) -> tuple[bytes, str | None]:
    """The output of a guest that belongs to no request, and what went wrong."""

    async def run() -> tuple[bytes, str | None]:
        async with Sandbox(engine) as sandbox:
            execution = sandbox.start(invocation)
            output = b""
            while data := await execution.read():
                output += data
                if len(output) > _MAX_OUTPUT:
                    execution.stop("stdout")
            failure = execution.failure()
            execution.release()
            return output, failure

    # Its own thread, because a server may load a site while its loop runs.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()
