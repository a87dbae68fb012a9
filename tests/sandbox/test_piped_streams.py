"""Standard streams through pipes, as the event loop sees them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from wagi_gateway.sandbox.piped_streams import PipedStreams


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


async def opened(log: Callable[[bytes], None] = lambda _: None, stderr_limit: int = 10_000) -> PipedStreams:
    streams = PipedStreams(b"", stderr_limit, log)
    streams.attach(asyncio.get_running_loop(), lambda: None)
    return streams


def test_output_is_taken_piece_by_piece() -> None:
    async def main() -> None:
        streams = await opened()
        assert (streams.take_stdout(), streams.stdout_held) == (b"", 0)
        os.write(streams.writers[0], b"x" * 40_000)
        assert (streams.stdout_held, streams.is_nearly_full) == (40_000, True)
        assert streams.take_stdout() == b"x" * 40_000
        assert not streams.is_nearly_full
        streams.detach()

    asyncio.run(main())


def test_a_write_wakes_the_event_loop() -> None:
    async def main() -> None:
        streams = await opened()
        loop = asyncio.get_running_loop()
        for write_first in (False, True):
            waiter = loop.create_future()
            if write_first:
                os.write(streams.writers[0], b"early")
            streams.set_waiter(waiter)
            if not write_first:
                assert not waiter.done()
                os.write(streams.writers[0], b"late")
            await asyncio.wait_for(waiter, 10)
            assert streams.take_stdout() == (b"early" if write_first else b"late")
        streams.detach()

    asyncio.run(main())


def test_what_is_left_at_the_end_is_kept() -> None:
    async def main() -> None:
        logged: list[bytes] = []
        streams = await opened(logged.append)
        stdout, stderr = streams.writers
        os.write(stdout, b"output")
        os.write(stderr, b"error")
        streams.detach()
        assert (streams.writers, streams.take_stdout(), b"".join(logged)) == ((), b"output", b"error")
        assert streams.take_stdout() == b""
        streams.detach()

    asyncio.run(main())


def test_a_write_after_the_end_of_reading_fails() -> None:
    async def main() -> None:
        streams = await opened()
        streams.abandon()
        with pytest.raises(BrokenPipeError):
            os.write(streams.writers[0], b"x")
        assert (streams.take_stdout(), streams.stdout_held) == (b"", 0)
        streams.abandon()
        streams.detach()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the streams have no event for it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("limit", [0, 1000, 1 << 20])
@pytest.mark.parametrize("held", [0, 300_000], ids=["fast", "slow"])
def test_standard_error_is_read_while_the_guest_runs(limit: int, held: int) -> None:
    """With `held` bytes the log is behind at the start."""

    async def main() -> None:
        logged: list[bytes] = []
        streams = await opened(logged.append, limit)
        streams.write_stderr(b"x" * held)
        streams.begin_streaming()
        left = 400_000
        while left:
            try:
                left -= os.write(streams.writers[1], b"x" * min(left, 65_536))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        streams.close_writers()
        await until(lambda: streams.stderr_dropped + len(b"".join(logged)) == 400_000 + held)
        streams.detach()
        assert len(b"".join(logged)) == min(limit, 400_000 + held)

    asyncio.run(main())
