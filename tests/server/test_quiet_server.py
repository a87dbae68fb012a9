"""The main loop of a server: few ticks, and an end at once."""

from __future__ import annotations

import asyncio
import threading
import time

import uvicorn
from starlette.responses import PlainTextResponse

from wagi_gateway.server.quiet_server import QuietServer


class Counting(QuietServer):
    """Counts its ticks."""

    def __init__(self) -> None:
        self.ticks = 0
        super().__init__(uvicorn.Config(PlainTextResponse(""), log_config=None))

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


def test_a_server_ends_when_another_thread_requests_it_and_ticks_once_a_second() -> None:
    server, started = Counting(), time.monotonic()
    timer = threading.Timer(1.2, setattr, (server, "should_exit", True))
    timer.start()
    asyncio.run(asyncio.wait_for(server.main_loop(), 60))
    timer.join()
    assert server.ticks <= 2 * (time.monotonic() - started) + 2
    assert [name for name, _ in server.server_state.default_headers] == [b"date"]
    server.should_exit = True  # the loop is closed


def test_a_request_before_the_start_holds() -> None:
    server = Counting()
    server.should_exit = True
    asyncio.run(server.main_loop())
    assert server.ticks == 1
