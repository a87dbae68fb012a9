"""The same bytes to a real nginx and to the gateway: no request begins or ends in two places.

The gateway may refuse a request that nginx accepts, and then closes the connection or continues at the same byte as
nginx. STRICTER lists requests that only the gateway refuses, LAXER requests that only nginx refuses, none of which
concern the end of a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import wait_until
from tests.system.deploy.site import Site, serving

from ...support.http_client import connected, message
from .ambiguous import CASES
from .reading import Reading, read

DIRECT, THROUGH_NGINX, ANOTHER = "127.1.0.1", "127.2.0.1", "127.3.0.1"
"""The addresses of the gateway's client, of nginx's client, and of another client of nginx."""
TIMEOUT = 0.5
"""The timeout of a response in seconds, before the next bytes are sent."""
_LONG_TIMEOUT = 5.0
"""The timeout of the second attempt, for a busy machine."""
_AT_A_TIME = 24

STRICTER = set(
    # Line ends without CR, which nginx accepts (allowed by RFC 9112 section 2.2)
    "line-feeds line-feeds-body line-feed-at-the-end line-feed-in-the-middle line-feed-ends-the-head field-lf-injection"
    " chunk-line-feeds chunk-line-feed-after-size chunk-line-feed-after-data chunk-line-feed-at-the-end"
    " chunk-line-feed-after-last chunk-trailer-line-feed chunk-extension-line-feed"
    # Chunks and trailers that violate the grammar or contain framing fields
    " chunk-blank-after chunk-tab-after chunk-extension-nul chunk-too-short chunk-last-has-data chunk-trailer-length"
    " chunk-trailer-coding chunk-trailer-folded chunk-trailer-no-colon chunk-trailer-is-a-request"
    # Fields with invalid names, which nginx drops
    " field-no-colon field-high-in-name field-slash-in-name field-quote-in-name"
    # Request lines
    " line-two-blanks line-two-blanks-after line-blank-at-end line-absolute-ftp line-version-1.2"
    " line-version-1.10".split()
)
LAXER = set(
    # OPTIONS *, which the gateway answers itself
    "line-options te-options"
    # Tabs around a value, which are whitespace (RFC 9110 section 5.6.3)
    " cl-tab te-tab-before host-tab"
    # Unusual hosts that RFC 3986 allows; an empty Host becomes server.hostname
    " host-empty host-1.0-empty host-dot host-dots"
    # A % without an escape, which stays unchanged
    " line-percent line-percent-short"
    " expect-twice".split()
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """nginx as in deploy/, with persistent connections to a gateway."""
    with serving("wagi-gateway.conf", tmp_path_factory.mktemp("differential"), cache) as running:
        yield running


def ask(site: Site, data: bytes) -> tuple[Reading, Reading]:
    """The readings of the gateway and of nginx; checks that another client of nginx then gets its own response."""
    readings = _read(site, data, TIMEOUT)
    if disagreement(*readings):
        readings = _read(site, data, _LONG_TIMEOUT)
    with connected(site.address, ANOTHER) as connection:
        mine = f"/mine/{hash(data)}"
        given = connection.ask(message(f"POST {mine} HTTP/1.1", "Host: h", "Content-Length: 4", body=b"mine")).seen
    assert (given["REQUEST_URI"], given.stdin) == (mine.encode(), b"mine")
    return readings


def _read(site: Site, data: bytes, timeout: float) -> tuple[Reading, Reading]:
    return (
        read(site.gateway.address, data, DIRECT, timeout),
        read(site.address, data, THROUGH_NGINX, timeout, speaks_0_9=True),
    )


def ask_all(site: Site, requests: Iterable[bytes]) -> list[tuple[Reading, Reading]]:
    """The readings of several cases at the same time, which share nginx's connections to the gateway."""
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return list(threads.map(lambda data: ask(site, data), requests))


def disagreement(gateway: Reading, nginx: Reading) -> str:
    """The contradictions between two readings; empty without any."""
    for number, request in enumerate(gateway.requests):
        if number < len(nginx.requests):
            other = nginx.requests[number]
            if not (request.is_refused or other.is_refused) and (what := request.contradicts(other)):
                return f"request {number + 1}: {what}"
        elif not (request.is_refused or request.is_next or number == 0):
            return f"the gateway read another request: {request}"
    behind = nginx.requests[len(gateway.requests) :]
    if behind and not behind[0].is_refused and not gateway.is_closed:
        return "the gateway waits for more of a request that nginx has read"
    return ""


@pytest.fixture(scope="module")
def readings(site: Site) -> dict[str, tuple[Reading, Reading]]:
    """The readings of each case by the gateway and by nginx."""
    return dict(zip(CASES, ask_all(site, CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_no_disagreement(readings: dict[str, tuple[Reading, Reading]], name: str) -> None:
    assert disagreement(*readings[name]) == ""


def test_refusals_by_one_side(readings: dict[str, tuple[Reading, Reading]]) -> None:
    firsts = {
        name: (gateway.requests[0].is_refused, nginx.requests[0].is_refused)
        for name, (gateway, nginx) in readings.items()
        if gateway.requests and nginx.requests
    }
    assert {name for name, (gateway, nginx) in firsts.items() if gateway and not nginx} - STRICTER == set()
    assert {name for name, (gateway, nginx) in firsts.items() if nginx and not gateway} - LAXER == set()
    assert {name for name in STRICTER if not firsts[name][0]} == set()
    assert {name for name in LAXER if firsts[name][0]} == set()
    # The gateway waits for the rest of a chunk over any bound, until limits.body or body_time.
    assert {name for name in CASES if name not in firsts} <= {"chunk-2^32", "chunk-2^63"}


def test_what_is_doubtful_closes_the_connection(readings: dict[str, tuple[Reading, Reading]]) -> None:
    framing = [name for name in CASES if name.startswith(("te-", "cl-", "chunk-", "line-feed", "pipelined"))]
    for name in framing:
        gateway, _ = readings[name]
        if gateway.requests and gateway.requests[0].status in (400, 501):
            assert (len(gateway.requests), gateway.is_closed) == (1, True), name


def assert_nothing_smuggled(site: Site) -> None:
    """Fails unless nginx has forwarded every request that a guest has answered, by its id."""

    def forwarded() -> set[str]:
        lines = (site.log.parent / "access.log").read_text().splitlines()
        return {word for line in lines for word in re.findall(r"[0-9a-f]{18}", line.rpartition(' "')[2])}

    def answered() -> set[str]:  # answered by a guest: an aborted request has none
        clients = "|".join(map(re.escape, (THROUGH_NGINX, ANOTHER)))
        return set(re.findall(rf"guest_ms=\S+ client=(?:{clients}) id=(\w+)", site.gateway.log))

    wait_until(lambda: answered() <= forwarded(), message=lambda: f"unknown to nginx: {answered() - forwarded()}")
    assert answered()


def test_the_gateway_sees_what_nginx_forwards(site: Site, readings: dict[str, tuple[Reading, Reading]]) -> None:
    assert len(readings) == len(CASES)
    assert_nothing_smuggled(site)


_INSERTED = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b"\xff", b":", b",", b";", b"0", b"+", b"\r\n\r\n",
        b"0\r\n\r\n", b"\r\n ", b"chunked", b"identity", b"\r\nX-A: 1",
        b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"\r\nContent-Length: 3",
        b"Transfer-Encoding: chunked\r\n", b"\r\nTransfer-Encoding: chunked", b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: x\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", b" HTTP/1.0", b"3\r\nabc\r\n", b"X_A: ", b"Host: x\r\n", b"X: ",
    ]
)  # fmt: skip
_SHORT = sorted(data for data in CASES.values() if len(data) < 1000)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A strategy for cases with an inserted, removed or doubled part."""
    data = draw(st.sampled_from(_SHORT))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 8))
        piece = draw(_INSERTED | st.just(data[start:end] * 2) | st.just(b""))
        data = data[:start] + piece + (data[end:] if draw(st.booleans()) else data[start:])
    return data


@given(st.lists(mutations(), min_size=_AT_A_TIME, max_size=_AT_A_TIME))
@settings(max_examples=16, suppress_health_check=list(HealthCheck))
def test_no_disagreement_over_anything_else(site: Site, requests: list[bytes]) -> None:
    found = [
        (data, what, *both)
        for data, both in zip(requests, ask_all(site, requests), strict=True)
        if (what := disagreement(*both))
    ]
    assert found == []
    assert_nothing_smuggled(site)
