"""Something that happens once in several processes."""

from __future__ import annotations

import contextlib
import multiprocessing

from wagi_gateway.server.once import Once


def test_once() -> None:
    with contextlib.closing(Once()) as once:
        assert [once() for _ in range(3)] == [True, False, False]


def test_once_in_several_processes() -> None:
    with contextlib.closing(Once()) as once, multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sorted(pool.map(_call, [once] * 4)) == [False, False, False, True]
        assert not once()


def _call(once: Once) -> bool:
    return once()
