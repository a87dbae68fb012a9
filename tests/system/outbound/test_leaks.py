"""A thousand calls leak no descriptor, thread or memory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, wait_until
from tests.support.attacks import together
from tests.support.config import config, module
from tests.support.farm import Target
from tests.support.neighbours import DESCRIPTOR_ROOM
from tests.system.outbound.conftest import Lab

AT_ONCE = 20
CALLS = 1000
KEPT = 8
"""Idle connections that the gateway keeps, as in tests/outbound/test_client.py."""
MEMORY_ROOM = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway, and the server of its outbound calls."""

    gateway: Server
    target: Target
    closed: str

    def scripts(self) -> dict[str, tuple[str, list[str]]]:
        """The input of a guest, and the errors of its five calls."""
        url = self.target.url
        return {
            "answered": (f"req GET {url}/hello\ndrain 4096\nclose\n" * 5, ["0"] * 5),
            "large": (f"req GET {url}/big?size=200000&chunked\ndrain 65536\n" * 5, ["0"] * 5),
            "denied": (f"req GET http://denied.test/\nreq GET {url}/redirect?to=http://denied.test/\n" * 5, ["7"] * 10),
            "failed": (f"req GET {self.closed}/\nreq GET {url}/redirect?to={self.closed}/\n" * 5, ["11"] * 10),
            "broken": (f"req GET https://127.0.0.1:{self.target.port}/\n" * 5, ["11"] * 5),
            "late": (f"req GET {url}/slow?seconds=9\n", ["11"]),
            "abandoned": (f"req GET {url}/drip\nread 1\n" * 5, ["0"] * 5),
            "unread": (f"req GET {url}/big?size=9000000\n" * 5, ["0"] * 5),
            "too-many": (f"req GET {url}/hello\n" * 7, ["0"] * 5 + ["13"] * 2),
            "refused": (f"req G(T {url}/hello\nreq GET nonsense\n", ["8", "10"]),
        }


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    target, closed = lab.target(), lab.refusing_url()
    allowed = [target.url, closed, f"https://127.0.0.1:{target.port}"]
    limits: dict[str, object] = {"concurrency": AT_ONCE, "memory": "64MiB"}
    modules = [
        module(path, caller, allowed_hosts=allowed, http_max_concurrency=5, limits=limits | more)
        for path, more in (("/caller", {}), ("/late", {"http_time": "500ms"}))
    ]
    return Site(lab.serve(config(*modules, log={"format": "json"})), target, closed)


def call(site: Site, requests: int) -> Counter[str]:
    """Makes requests, AT_ONCE at the same time; counts the errors of their guests' calls."""
    scripts = list(site.scripts().items())

    def work(number: int) -> Counter[str]:
        told: Counter[str] = Counter()
        with httpx.Client(trust_env=False, timeout=30) as client:
            for turn in range(number, requests, AT_ONCE):
                name, (text, expected) = scripts[turn % len(scripts)]
                path = "/late" if name == "late" else "/caller"
                response = client.post(site.gateway.url + path, content=text)
                errors = [line.split()[1] for line in response.text.splitlines() if line.startswith("req ")]
                assert errors == expected
                told.update(errors)
        return told

    return sum(together(AT_ONCE, work), Counter())


def outcomes(server: Server) -> Counter[str]:
    """The calls in the log, by outcome."""
    records = map(json.loads, server.log.splitlines())
    return Counter(record["outcome"] for record in records if record["logger"] == "wagi_gateway.calls")


def test_a_thousand_calls_leave_nothing_behind(site: Site) -> None:
    call(site, 200)
    descriptors, memory = site.gateway.descriptors(), site.gateway.memory()
    told = Counter[str]()
    while told.total() < CALLS:
        told += call(site, 100)
    wait_until(
        lambda: site.gateway.descriptors() <= descriptors + KEPT + DESCRIPTOR_ROOM,
        message=lambda: f"{descriptors} descriptors were open, now {site.gateway.descriptors()}",
    )
    grown = site.gateway.memory() - memory
    assert grown < MEMORY_ROOM, f"{grown / 1024:.0f} KiB more"
    assert set(told) == {"0", "7", "8", "10", "11", "13"}
    logged = outcomes(site.gateway)
    assert set(logged) == {"answered", "denied", "failed", "timeout", "refused"}
    assert "Traceback" not in site.gateway.log
    print(f"{told.total()} calls: {descriptors} -> {site.gateway.descriptors()} descriptors, {grown / 1024:+.0f} KiB")
