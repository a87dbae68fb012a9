"""Standard streams through pipes, as the event loop sees them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from wagi_gateway.sandbox.piped_streams import PipedStreams
from wagi_gateway.sandbox.pipes import PipePool


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


class Opened(PipedStreams):
    """Streams with a guest's descriptors."""

    stdout = stderr = -1

    def open(self, stdout: bytes, stderr: bytes) -> bool:
        flags = os.O_WRONLY | os.O_NONBLOCK
        self.stdout, self.stderr = (os.open(pipe, flags) for pipe in (stdout, stderr))
        return True

    def close_guest(self) -> None:
        os.close(self.stdout)
        os.close(self.stderr)


async def opened(
    log: Callable[[bytes], None] = lambda _: None, stderr_limit: int = 10_000, pipes: PipePool | None = None
) -> Opened:
    streams = Opened(b"", stderr_limit, log)
    streams.attach(asyncio.get_running_loop(), lambda: None, pipes)
    assert streams.open_outputs(streams.open)
    return streams


def test_output_is_taken_piece_by_piece() -> None:
    async def main() -> None:
        streams = await opened()
        assert (streams.take_stdout(), streams.stdout_held) == (b"", 0)
        os.write(streams.stdout, b"x" * 40_000)
        assert (streams.stdout_held, streams.is_nearly_full) == (40_000, True)
        assert streams.take_stdout() == b"x" * 40_000
        assert not streams.is_nearly_full
        streams.close_guest()
        streams.detach()

    asyncio.run(main())


def test_a_write_wakes_the_event_loop() -> None:
    async def main() -> None:
        streams = await opened()
        loop = asyncio.get_running_loop()
        for write_first in (False, True):
            waiter = loop.create_future()
            if write_first:
                os.write(streams.stdout, b"early")
            streams.set_waiter(waiter)
            if not write_first:
                assert not waiter.done()
                os.write(streams.stdout, b"late")
            await asyncio.wait_for(waiter, 10)
            assert streams.take_stdout() == (b"early" if write_first else b"late")
        streams.close_guest()
        streams.detach()

    asyncio.run(main())


def test_what_is_left_at_the_end_is_kept() -> None:
    async def main() -> None:
        logged: list[bytes] = []
        streams = await opened(logged.append)
        os.write(streams.stdout, b"output")
        os.write(streams.stderr, b"error")
        streams.close_guest()
        streams.detach()
        assert (streams.take_stdout(), b"".join(logged)) == (b"output", b"error")
        assert streams.take_stdout() == b""
        streams.detach()

    asyncio.run(main())


def test_a_write_after_the_end_of_reading_fails() -> None:
    async def main() -> None:
        streams = await opened()
        streams.abandon()
        with pytest.raises(BrokenPipeError):
            os.write(streams.stdout, b"x")
        assert (streams.take_stdout(), streams.stdout_held) == (b"", 0)
        streams.abandon()
        streams.close_guest()
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
                left -= os.write(streams.stderr, b"x" * min(left, 65_536))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        await until(lambda: streams.stderr_dropped + len(b"".join(logged)) == 400_000 + held)
        streams.close_guest()
        streams.detach()
        assert len(b"".join(logged)) == min(limit, 400_000 + held)

    asyncio.run(main())


def test_the_next_guest_has_the_same_pipes_without_their_content() -> None:
    async def main() -> None:
        pipes = PipePool()
        first = await opened(pipes=pipes)
        inodes = {os.fstat(first.stdout).st_ino, os.fstat(first.stderr).st_ino}
        os.write(first.stdout, b"secret")
        os.write(first.stderr, b"secret")
        first.close_guest()
        first.detach()
        second = await opened(pipes=pipes)
        assert {os.fstat(second.stdout).st_ino, os.fstat(second.stderr).st_ino} == inodes
        assert (second.stdout_held, second.take_stdout(), second.log_piece()) == (0, b"", False)
        second.close_guest()
        second.detach()
        pipes.close()

    asyncio.run(main())


def test_a_pipe_that_is_not_read_any_more_is_not_used_again() -> None:
    async def main() -> None:
        pipes = PipePool()
        first = await opened(pipes=pipes)
        inode = os.fstat(first.stdout).st_ino
        first.abandon()
        second = await opened(pipes=pipes)
        assert os.fstat(second.stdout).st_ino != inode
        for streams in (first, second):
            streams.close_guest()
            streams.detach()
        pipes.close()

    asyncio.run(main())


def test_nothing_is_opened_once_reading_has_ended() -> None:
    """A number that was closed may be another request's file."""

    async def main() -> None:
        streams = PipedStreams(b"", 1000, lambda _: None)
        streams.attach(asyncio.get_running_loop(), lambda: None)
        streams.abandon()
        assert not streams.open_outputs(lambda *_: pytest.fail("opened"))
        streams.detach()

    asyncio.run(main())
