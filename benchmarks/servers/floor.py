"""The lower bound of a sandboxed request in Python: uvicorn, and for each request the C API calls of one hello guest.

No routing, no limits, no log, no environment. Run with `python -m benchmarks.servers.floor`.
"""

from __future__ import annotations

import contextlib

from starlette.types import Receive, Scope, Send
from wagi_gateway.sandbox.pipes import descriptor_path, open_pipe

from ..harness.server import HELLO_WAT
from ..loops.calls import BareCalls
from ..loops.request import load_hello
from .bare import constant, serve

with contextlib.ExitStack() as _stack:
    _reader, _writer = open_pipe(_stack)
    _calls = BareCalls(load_hello(HELLO_WAT), _reader, descriptor_path(_writer), is_inline=True, gives_strings=False)

    async def floor(scope: Scope, receive: Receive, send: Send) -> None:
        """The constant response, after one guest."""
        _calls.run(1)
        await constant(scope, receive, send)

    if __name__ == "__main__":
        serve(floor)
