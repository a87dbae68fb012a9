"""Steady requests to the ready endpoints of a Service in turn, as a proxy of the cluster sends them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import wait_until
from tests.support.cluster.cluster import Cluster

PAUSE = 0.01
"""Seconds between two requests: the Pods need the processors, too."""
_CLIENT = Path(__file__).with_name("round_robin_client.py")
# A jsonpath with a range ends the watch at its first event (kubectl 1.36).
_ENDPOINTS = '{{range .endpoints}}{{index .addresses 0}}={{.conditions.ready}} {{end}}{{"\\n"}}'


@dataclass(slots=True)
class RoundRobin:
    """What was seen so far."""

    texts: list[str] = field(default_factory=list)
    """The body of each response with status 200."""
    addresses: set[str] = field(default_factory=set)
    """The endpoints that have answered."""
    ready: list[int] = field(default_factory=list)
    """The number of ready endpoints after each change."""
    failures: list[str] = field(default_factory=list)
    ended: bool = False

    def read(self, lines: Iterator[str]) -> None:
        """Reads what the client writes, until its end."""
        for line in lines:
            kind, _, rest = line.rstrip("\n").partition(" ")
            address, _, text = rest.partition(" ")
            if kind == "ready":
                self.ready.append(int(address))
            elif kind == "200":
                self.addresses.add(address)
                self.texts.append(text)
            else:
                self.failures.append(line)
        self.ended = True

    def wait_for(self, text: str, count: int = 20) -> None:
        """Waits until the last `count` responses have a text."""
        began = len(self.texts)
        wait_until(
            lambda: self.ended or (set(self.texts[began:][-count:]) == {text} and len(self.texts) >= began + count),
            120,
            lambda: f"no {text!r} in 120 s, but {self.texts[-count:]}, failures {self.failures[:5]}",
        )
        assert not self.ended, "the watch of the endpoints, or the client, has ended"


@contextmanager
def round_robin(
    cluster: Cluster, namespace: str, service: str, target: str, prefix: tuple[str, ...], pause: float = PAUSE
) -> Iterator[RoundRobin]:
    """Requests `PORT/PATH` of a Service's endpoints until the context ends; no request may fail.

    `prefix` is that of the client's command, which runs where the addresses are reached; `pause` is in seconds.
    """
    seen = RoundRobin()
    selector = f"--selector=kubernetes.io/service-name={service}"
    kubectl: list[str | Path] = [
        cluster.programs / "kubectl",
        "get",
        "endpointslices",
        "-n",
        namespace,
        selector,
        "--watch",
    ]
    with subprocess.Popen(
        [*kubectl, "-o", f"go-template={_ENDPOINTS}"], stdout=subprocess.PIPE, env=cluster.environment
    ) as watch:
        try:
            command = [*prefix, sys.executable, str(_CLIENT), target, str(pause)]
            with subprocess.Popen(command, stdin=watch.stdout, stdout=subprocess.PIPE, text=True, bufsize=1) as client:
                assert client.stdout
                reader = threading.Thread(target=seen.read, args=(client.stdout,))
                reader.start()
                try:
                    yield seen
                finally:
                    watch.kill()  # the client ends with its input
                    reader.join()
        finally:
            watch.kill()
    assert seen.failures == []
    assert seen.texts
