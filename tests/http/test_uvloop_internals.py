"""Canary: the undocumented error of uvloop for a write to a connection that was lost.

Where the test fails: adapt `Reply._send_all` in wagi_gateway/http/reply.py, and the upper bound of uvloop in
pyproject.toml.
"""

from __future__ import annotations

import asyncio
import socket
from importlib.metadata import version

import uvloop


def test_a_write_to_a_lost_connection_raises_an_error_that_has_closed_in_its_text() -> None:
    texts = []

    async def main() -> None:
        lost = asyncio.Event()

        class Protocol(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
                lost.set()

        one, other = socket.socketpair()
        with other:
            transport, _ = await asyncio.get_running_loop().create_connection(Protocol, sock=one)
            transport.abort()
            await asyncio.wait_for(lost.wait(), 10)
            await asyncio.sleep(0)
            try:
                transport.write(b"late")
            except RuntimeError as error:
                texts.append(str(error))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    what = f"uvloop {version('uvloop')}: RuntimeError of transport.write, used by http/reply.py: {texts}"
    assert ["closed" in text for text in texts] == [True], what
