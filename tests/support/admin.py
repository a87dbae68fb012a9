"""The admin listener of a server: its URL, and the samples of its metrics."""

from __future__ import annotations

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Server

ADMIN = '[admin]\nlisten = "127.0.0.1:0"\n'


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def admin(server: Server) -> str:
    """The URL of the admin listener."""
    found = re.search(r'Admin: serving on ([^\s"]+)', "\n".join(server.stdout) + server.log)
    assert found
    return found[1]


def ask(server: Server, path: str, **headers: str) -> httpx.Response:
    """The admin listener's response to a GET."""
    return httpx.get(admin(server) + path, headers=headers, trust_env=False, timeout=30)


def scrape(server: Server) -> Series:
    """All samples by name and labels."""
    answer = ask(server, "/metrics")
    assert answer.status_code == 200, answer.text + server.log
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    series = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(series) == len(samples), "a series appears twice"
    return series


def value(server: Server, name: str, **labels: str) -> float:
    """The value of one sample, or 0 without it."""
    return scrape(server).get((name, frozenset(labels.items())), 0)
