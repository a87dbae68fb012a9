"""Bounds on the effect of an attack on one route on all other routes."""

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

MAX_LATENCY = 1.0
"""Seconds within which all other routes must respond during an attack on one route."""


DESCRIPTOR_ROOM = 4


@contextmanager
def others_answered(server: Server) -> Iterator[None]:
    """Fails unless another route and the health check answer fast all the time while the body of the `with` runs."""
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
    assert_within(worst, MAX_LATENCY)
