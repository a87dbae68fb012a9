"""The metrics of the Pods' gateways (`wagi_*`), as lines of `/metrics` with the labels `namespace` and `pod`."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import GatewayError
from ...observe.metrics import METRICS, Metric
from ..unix_socket import short_path
from .containers import Containers, current_pods
from .usage import containers_of

MAX_POD_BYTES = 2**20
"""Bytes of a gateway's metrics; all Pods together have `MAX_BYTES`, of which each has an equal share."""
MAX_BYTES = 64 * 2**20
MAX_CONNECTIONS = 64
"""Gateways that are asked at a time."""
POD_TIME = 2.0
"""Seconds until a gateway has to have answered."""
TIME = 8.0
"""Seconds for all gateways; Prometheus waits 10 seconds for a scrape (`scrape_timeout`)."""

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
_LABEL = r'(?!namespace=|pod=)[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"([a-z_]+)(?:\{{((?:{_LABEL},?)*)\}})? ([0-9.e+-]+|NaN|[+-]Inf)", re.ASCII)
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_FAMILIES = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    if metric.name.startswith("wagi_")
    for suffix in _SUFFIXES[metric.kind]
}
"""The metrics by the names of their samples."""


class PodName(NamedTuple):
    """The Pod of a gateway."""

    namespace: str
    pod: str


class MetricsUnavailable(GatewayError):
    """A gateway does not answer with metrics."""


Scraped = Mapping[PodName, str | None]
"""What each gateway answered; None for one that did not."""


async def scrape(containers: Containers) -> Scraped:
    """Asks each gateway that runs; one that is silent, slow or verbose is left out, and delays no other."""
    sockets = _sockets(containers)
    found: dict[PodName, str | None] = dict.fromkeys(sockets)
    limit = min(MAX_POD_BYTES, MAX_BYTES // max(1, len(sockets)))
    places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def ask(name: PodName, path: Path) -> None:
        with contextlib.suppress(OSError, TimeoutError, MetricsUnavailable):
            async with places, asyncio.timeout(POD_TIME):
                found[name] = await _read(path, limit)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIME), asyncio.TaskGroup() as group:
            for name, path in sockets.items():
                group.create_task(ask(name, path))
    return found


def exposition_lines(scraped: Scraped, *, is_open_metrics: bool) -> str:
    """The samples of all gateways by family, as both formats want them.

    Headers are the node's own. Of a gateway's text the known `wagi_*` samples are taken, and no line that is malformed,
    has a time, or names a Pod itself.
    """
    families: dict[Metric, list[str]] = {}
    for name, text in scraped.items():
        labels = f'namespace="{name.namespace}",pod="{name.pod}"'
        for metric, line in _samples(text or "", labels):
            families.setdefault(metric, []).append(line)
    parts = []
    for metric in METRICS:
        if lines := families.get(metric):
            family = metric.name.removesuffix("_total") if is_open_metrics else metric.name
            parts += [f"# HELP {family} {metric.about}\n# TYPE {family} {metric.kind}\n", *lines]
    return "".join(parts)


def _samples(text: str, labels: str) -> Iterator[tuple[Metric, str]]:
    for line in text.split("\n"):
        match = _SAMPLE.fullmatch(line)
        if match and (metric := _FAMILIES.get(match[1])):
            yield metric, f"{match[1]}{{{labels}{',' if match[2] else ''}{match[2] or ''}}} {match[3]}\n"


def _sockets(containers: Containers) -> dict[PodName, Path]:
    """The admin sockets of the gateways that run."""
    found = {}
    for pod in current_pods(containers):
        for _, one in containers_of(containers, pod):
            if one.pid is not None and one.admin is not None:
                found[PodName(pod["metadata"]["namespace"], pod["metadata"]["name"])] = one.admin
    return found


async def _read(path: Path, limit: int) -> str:
    """The metrics of a gateway, which ends the connection after them. Raises OSError, MetricsUnavailable."""
    with short_path(path) as short:
        reader, writer = await asyncio.open_unix_connection(short)
    answer = bytearray()
    try:
        writer.write(_REQUEST)
        while data := await reader.read(2**16):
            answer += data
            if len(answer) > limit:
                raise MetricsUnavailable(f"more than {limit} bytes")
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise MetricsUnavailable("no answer of HTTP with status 200")
    return body.decode(errors="replace")
