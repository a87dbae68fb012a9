"""How connections are accepted, and what an accept that fails does; descriptors that run out are in test_floods.py."""

from __future__ import annotations

import asyncio
import contextlib
import functools
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


def test_those_that_share_a_socket_share_a_burst() -> None:
    async def run() -> None:
        taken = {"first": 0, "second": 0}
        are_all = asyncio.Event()

        def take(name: str) -> asyncio.Protocol:
            taken[name] += 1
            if sum(taken.values()) == 16:
                are_all.set()
            return asyncio.Protocol()

        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(16):  # before anybody accepts
                stack.enter_context(socket.create_connection(listener.getsockname()))
            shared = [listener, stack.enter_context(listener.dup())]
            acceptors = [Acceptor(own, functools.partial(take, name)) for own, name in zip(shared, taken, strict=True)]
            await asyncio.wait_for(are_all.wait(), 10)
            for acceptor in acceptors:
                acceptor.close()
                await acceptor.wait_closed()
        assert taken == {"first": 8, "second": 8}

    asyncio.run(run())
