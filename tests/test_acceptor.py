"""What an accept that fails does; descriptors that run out are in test_floods.py."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from wagi_gateway.acceptor import Acceptor, logger


class _Warned(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.first = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.first.set()


def test_a_socket_that_accepts_no_more_is_looked_at_now_and_then() -> None:
    async def run() -> None:
        unexpected: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unexpected.append(context))
        warned = _Warned()
        logger.addHandler(warned)
        try:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                acceptor = Acceptor(listener, asyncio.Protocol)
                listener.shutdown(socket.SHUT_RDWR)
                await asyncio.wait_for(warned.first.wait(), 10)
                acceptor.close()
        finally:
            logger.removeHandler(warned)
        assert warned.messages == ["new connections wait: Invalid argument"]
        assert not unexpected

    asyncio.run(run())
