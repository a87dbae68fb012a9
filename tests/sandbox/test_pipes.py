"""Pipes that guests use one after the other."""

from __future__ import annotations

import os
import resource

import pytest

from wagi_gateway.sandbox.pipes import PipePair, PipePool


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


def test_a_pipe_is_read_where_it_is_written() -> None:
    pool = PipePool()
    pipes = pool.take()
    for pipe in (pipes.stdout, pipes.stderr):
        with pytest.raises(BlockingIOError):
            os.read(pipe, 1)
        os.write(pipe, b"x")
        assert pipes.readable() == [pipe]
        assert os.read(pipe, 10) == b"x"
    assert pipes.readable() == []
    pool.give_back(pipes)
    assert pool.take() is pipes
    pipes.close()


def test_pipes_without_standard_output_are_not_used_again() -> None:
    before, pool = count(), PipePool()
    pipes = pool.take()
    pipes.close_stdout()
    pipes.close_stdout()
    os.write(pipes.stderr, b"x")
    assert pipes.readable() == [pipes.stderr]
    pool.give_back(pipes)
    assert count() == before


def test_no_more_pipes_are_kept_than_a_few_guests_need() -> None:
    before, pool = count(), PipePool()
    for pipes in [pool.take() for _ in range(50)]:
        pool.give_back(pipes)
    assert count() - before == 32
    pool.close()
    assert count() == before


@pytest.mark.parametrize("room", [0, 1, 2])
def test_pipes_that_cannot_be_made_leave_no_descriptor_behind(room: int) -> None:
    """`room` is the number of descriptors that are free beside the one that a new pipe needs meanwhile."""
    before, limits = count(), resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1 + room, limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            PipePair()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert count() == before


def count() -> int:
    """The descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
