"""Bounds on what an attack on one route may cost everything else."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from tests.conftest import Server
from tests.support.clock import assert_within

QUICK = 1.0
"""Seconds in which everybody else has to be answered while one route is under attack."""


DESCRIPTOR_ROOM = 4


@contextmanager
def others_answered(server: Server) -> Iterator[None]:
    """Another route and the health check answer quickly, again and again, while the body runs."""
    is_over = threading.Event()

    def ask() -> float:
        worst = 0.0
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            for path in itertools.cycle(("/hello", "/healthz")):
                begin = time.perf_counter()
                assert client.get(path).status_code == 200
                worst = max(worst, time.perf_counter() - begin)
                if path == "/healthz" and is_over.wait(0.02):
                    break
        return worst

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        try:
            yield
        finally:
            is_over.set()
            worst = asking.result()
    assert_within(worst, QUICK)
