"""Steady requests to a Pod, each over a connection of its own, while something else happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.conftest import wait_until

TIMEOUT = 30.0


@dataclass(slots=True)
class Load:
    """The responses so far."""

    url: str
    succeeded: int = 0
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Requests until it is stopped."""
        while not self.stopped.is_set():
            try:
                response = httpx.get(self.url, trust_env=False, timeout=TIMEOUT)
                response.raise_for_status()
                self.succeeded += 1
            except httpx.HTTPError as error:
                self.failures.append(repr(error))

    def wait_for_more(self, count: int = 5) -> None:
        """Waits for further responses."""
        wanted = self.succeeded + count
        wait_until(lambda: self.succeeded >= wanted or bool(self.failures), 60, lambda: "no responses in 60 s")


@contextmanager
def steady_load(url: str) -> Iterator[Load]:
    """Requests a URL until the context ends; no request may fail."""
    load = Load(url)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        load.wait_for_more()
        yield load
        load.wait_for_more()
    finally:
        load.stopped.set()
        thread.join()
    assert load.failures == []
