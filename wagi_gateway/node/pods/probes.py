"""The probes of a container over HTTP and TCP, with their thresholds.

Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import GatewayError
from ...version import __version__
from ..api import Object

ProbeName = Literal["startupProbe", "readinessProbe", "livenessProbe"]
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n)")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_MAX_LINE = 8192


class ProbeFailed(GatewayError):
    """A probe had no success; the text is the message of the Event `Unhealthy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of a container. Times are in seconds."""

    kind: Literal["http", "tcp"]
    port: int | str
    """A number, or the name of a port of the container."""
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    scheme: str = "HTTP"
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None
    """The grace period of a gateway that fails the probe; None is that of the Pod."""


def read_probe(container: Object, name: ProbeName) -> Probe | None:
    """A probe of a container; None without one, or for one of a kind that the node has no means for."""
    spec = container.get(name) or {}
    http, tcp = spec.get("httpGet"), spec.get("tcpSocket")
    target = http or tcp
    if not target:
        return None
    port = target.get("port", 0)
    named = {one.get("name"): one.get("containerPort") for one in container.get("ports") or ()}
    headers = (http or {}).get("httpHeaders") or ()
    return Probe(
        kind="http" if http else "tcp",
        port=named.get(port, port),
        path=(http or {}).get("path") or "/",
        headers=tuple((one["name"], one.get("value", "")) for one in headers),
        scheme=(http or {}).get("scheme") or "HTTP",
        initial_delay=float(spec.get("initialDelaySeconds") or 0),
        period=float(spec.get("periodSeconds") or 10),
        timeout=float(spec.get("timeoutSeconds") or 1),
        success_threshold=int(spec.get("successThreshold") or 1),
        failure_threshold=int(spec.get("failureThreshold") or 3),
        grace=None if (grace := spec.get("terminationGracePeriodSeconds")) is None else float(grace),
    )


@dataclass(slots=True)
class ProbeResult:
    """The result of a probe over several attempts: it changes when a threshold is reached."""

    success_threshold: int
    failure_threshold: int
    value: bool | None = None
    """None before a threshold was reached."""
    _same: int = 0
    _last: bool | None = None

    def count(self, is_success: bool) -> bool:
        """Counts an attempt, and returns whether `value` has changed."""
        self._same = self._same + 1 if is_success == self._last else 1
        self._last = is_success
        if self._same < (self.success_threshold if is_success else self.failure_threshold):
            return False
        changed, self.value = self.value != is_success, is_success
        return changed


async def attempt(probe: Probe, address: tuple[str, int], own_port: int) -> None:
    """Probes a Pod once; `own_port` is the only port that the Pod listens on. Raises ProbeFailed.

    No other port is contacted: the author of a Pod would see which services of the node answer.
    """
    try:
        if str(probe.port) != str(own_port):
            raise ProbeFailed(f"the Pod listens on port {own_port}, not {str(probe.port)[:20]}")
        async with asyncio.timeout(probe.timeout):
            if probe.kind == "tcp":
                await _connect(address)
            else:
                await _check_http(probe, address)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {probe.timeout:g} s") from None
    except OSError as error:
        raise ProbeFailed(f"{address[0]}:{address[1]}: {error.strerror or error}") from None


async def _connect(address: tuple[str, int]) -> None:
    _, writer = await asyncio.open_connection(*address)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _check_http(probe: Probe, address: tuple[str, int]) -> None:
    if probe.scheme != "HTTP":
        raise ProbeFailed("the Pod speaks HTTP, not HTTPS; set scheme: HTTP")
    status = await http_status(address, probe.path, dict(probe.headers))
    if not 200 <= status < 400:
        raise ProbeFailed(f"HTTP probe failed with statuscode: {status}")


async def http_status(address: tuple[str, int], path: str, headers: Mapping[str, str]) -> int:
    """The status of a GET request. Raises ProbeFailed, OSError."""
    host, port = address
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fields = {"Host": authority, "User-Agent": f"kube-probe/wagi-gateway-{__version__}", "Accept": "*/*"}
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or not _TEXT.fullmatch(value):
            raise ProbeFailed(f"httpHeaders: {name[:50]!r} is not a header field")
        fields = {key: one for key, one in fields.items() if key.lower() != name.lower()} | {name: value}
    target = path if path.startswith("/") else f"/{path}"
    if not re.fullmatch(r"[\x21-\x7e]*", target):
        raise ProbeFailed(f"httpGet: the path {target[:50]!r} is not that of a URL")
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "Connection: close"]
    reader, writer = await asyncio.open_connection(*address, limit=_MAX_LINE)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        line = await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ProbeFailed("the connection ended without an answer of HTTP") from None
    finally:
        writer.close()
    if match := _STATUS_LINE.match(line):
        return int(match[1])
    raise ProbeFailed("the answer is not one of HTTP")
