"""The least a sandboxed request can cost in Python: uvicorn, and for each request the calls that run one hello guest.

Nothing is looked at, bounded or logged, and the guest gets no environment. `python -m benchmarks.floor` runs it.
"""

from __future__ import annotations

import contextlib

from starlette.types import Receive, Scope, Send

from wagi_gateway.sandbox.pipes import descriptor_path, open_pipe

from .bare import constant, serve
from .calls import BareCalls
from .request import load_hello
from .servers import HELLO_WAT

with contextlib.ExitStack() as _stack:
    _reader, _writer = open_pipe(_stack)
    _calls = BareCalls(load_hello(HELLO_WAT), _reader, descriptor_path(_writer), is_on_loop=True, gives_strings=False)

    async def floor(scope: Scope, receive: Receive, send: Send) -> None:
        """The constant answer, after a guest has run."""
        _calls.run(1)
        await constant(scope, receive, send)

    if __name__ == "__main__":
        serve(floor)
