"""A real Prometheus on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import wait_until
from tests.support.nginx import free_addresses
from tests.support.registry import installed

START = 60.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus, and its address."""

    url: str
    log: Path

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The values of an instant query, by the values of their labels in the order of the labels' names."""
        data = self._get("query", query=expression)
        return {
            tuple(value for _, value in sorted(one["metric"].items())): float(one["value"][1]) for one in data["result"]
        }

    def targets(self) -> list[dict[str, Any]]:
        """The active targets."""
        return list(self._get("targets", state="active")["activeTargets"])

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _get(self, endpoint: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{endpoint}", params=parameters, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])


@contextmanager
def running_prometheus(directory: Path, configuration: dict[str, Any]) -> Iterator[Prometheus]:
    """Runs Prometheus until the context ends."""
    ((host, port),) = free_addresses(1)
    config, log = directory / "prometheus.yml", directory / "prometheus.log"
    config.write_text(json.dumps(configuration))  # JSON is YAML
    command = [installed("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory}/data"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={host}:{port}"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        prometheus = Prometheus(f"http://{host}:{port}", log)
        wait_until(lambda: prometheus.is_ready() or process.poll() is not None, START, log.read_text)
        assert process.poll() is None, log.read_text()
        yield prometheus
    finally:
        process.kill()
        process.wait(30)
