"""The acceptance of connections, and failures of accept; exhausted descriptors are in test_floods.py."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from typing import Any

import pytest

from wagi_gateway.server.acceptor import MAX_BATCH, RETRY_INTERVAL, Acceptor, logger


class _Warned(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.twice = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        if len(self.messages) == 2:
            self.twice.set()


def test_a_socket_that_fails_to_accept_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wagi_gateway.server.acceptor._WARNING_INTERVAL", 0.0)

    async def run() -> None:
        unexpected: list[dict[str, Any]] = []
        began = time.monotonic()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unexpected.append(context))
        warned = _Warned()
        logger.addHandler(warned)
        try:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                acceptor = Acceptor(listener, asyncio.Protocol)
                listener.shutdown(socket.SHUT_RDWR)
                await asyncio.wait_for(warned.twice.wait(), 10)
                acceptor.close()
        finally:
            logger.removeHandler(warned)
        assert warned.messages == 2 * ["new connections wait: Invalid argument"]
        assert time.monotonic() - began >= RETRY_INTERVAL
        assert not unexpected

    asyncio.run(run())


@pytest.mark.parametrize(("at_once", "expected"), [(1, [8, 8]), (MAX_BATCH, [16, 0])], ids=["shared", "alone"])
def test_workers_of_one_socket_share_a_burst(at_once: int, expected: list[int]) -> None:
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
            for _ in range(16):  # before the first accept
                stack.enter_context(socket.create_connection(listener.getsockname()))
            shared = [listener, stack.enter_context(listener.dup())]
            acceptors = [
                Acceptor(own, functools.partial(take, name), at_once) for own, name in zip(shared, taken, strict=True)
            ]
            await asyncio.wait_for(are_all.wait(), 10)
            for acceptor in acceptors:
                acceptor.close()
                await acceptor.wait_closed()
        assert sorted(taken.values(), reverse=True) == expected

    asyncio.run(run())
