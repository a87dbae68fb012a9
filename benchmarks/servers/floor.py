"""The lower bound of a sandboxed request in Python: uvicorn, and for each request the C API calls of one hello guest.

No routing, no limits, no log, no environment. Run with `python -m benchmarks.servers.floor`.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from ..harness.server import HELLO_WAT
from ..loops.calls import BareCalls
from ..loops.request import load_hello
from .bare import constant, serve

_calls = BareCalls(load_hello(HELLO_WAT), is_inline=True, has_host=False)


async def floor(scope: Scope, receive: Receive, send: Send) -> None:
    """The constant response, after one guest."""
    _calls.run(1)
    await constant(scope, receive, send)


if __name__ == "__main__":
    serve(floor)
