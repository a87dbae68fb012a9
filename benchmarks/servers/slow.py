"""The constant response after 2 ms. Run with `python -m benchmarks.servers.slow`."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from .bare import constant, serve

DELAY = 0.002
"""Seconds before the response."""


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """The constant response after DELAY."""
    await asyncio.sleep(DELAY)
    await constant(scope, receive, send)


if __name__ == "__main__":
    serve(slow)
