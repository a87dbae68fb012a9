"""Pipes that guests use one after the other."""

from __future__ import annotations

import os

import pytest

from wagi_gateway.sandbox.pipes import PipePool


@pytest.fixture(autouse=True)
def path() -> str:
    """The backend of components, of which there is one."""
    return "hot"


def test_a_pipe_is_read_where_it_is_written() -> None:
    pipes = PipePool()
    pipe = pipes.take()
    with pytest.raises(BlockingIOError):
        os.read(pipe, 1)
    os.write(pipe, b"x")
    assert os.read(pipe, 10) == b"x"
    pipes.give_back(pipe)
    assert pipes.take() == pipe
    os.close(pipe)


def test_no_more_pipes_are_kept_than_a_few_guests_need() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, pipes = count(), PipePool()
    for pipe in [pipes.take() for _ in range(100)]:
        pipes.give_back(pipe)
    assert count() - before == 32
    pipes.close()
    assert count() == before
