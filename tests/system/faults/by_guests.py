"""Faults of modules."""

from __future__ import annotations

import contextlib

import httpx

from tests.support.attacks import together

from .city import TIMEOUT, City


def loops(city: City) -> None:
    """Guests that compute without end are stopped at the deadline."""
    assert _statuses(city, "/loop", 8) == {504}


def sleeps(city: City) -> None:
    """Guests that sleep without end are stopped at the deadline."""
    assert _statuses(city, "/sleep", 8) == {504}


def memory_bombs(city: City) -> None:
    """Guests that allocate and write all memory up to their limit."""
    assert _statuses(city, "/bomb", 16) == {500}


def traps(city: City) -> None:
    """Guests that trap, or overflow their stack."""
    assert _statuses(city, "/trap", 50) | _statuses(city, "/overflow", 50) == {500}


def floods_of_stdout(city: City) -> None:
    """Guests that print without end are cut off at their limit, with clients that read at full speed."""

    def read(_: int) -> int:
        got = 0
        try:
            with httpx.stream("GET", f"{city.gateway.url}/stdout", trust_env=False, timeout=TIMEOUT) as answer:
                assert answer.status_code == 200
                for piece in answer.iter_raw():
                    got += len(piece)
        except httpx.RemoteProtocolError:
            return got
        raise AssertionError("the response was not cut off")

    assert max(together(8, read)) <= 16 * 2**20


def floods_of_stderr(city: City) -> None:
    """Guests that write standard error without end: a bounded part reaches the log."""
    before = len(city.gateway.log)
    assert _statuses(city, "/stderr", 8) <= {200, 504}
    assert len(city.gateway.log) - before < 8 * 2 * 64 * 1024


def _statuses(city: City, path: str, count: int) -> set[int]:
    """The statuses of concurrent requests; a response that is cut off keeps its status."""

    def ask(_: int) -> int:
        with httpx.stream("GET", city.gateway.url + path, trust_env=False, timeout=TIMEOUT) as answer:
            with contextlib.suppress(httpx.RemoteProtocolError):
                answer.read()
            return answer.status_code

    return set(together(count, ask))
