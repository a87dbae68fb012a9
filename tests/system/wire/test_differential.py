"""The same bytes to a real nginx and to the gateway: no request begins or ends in two places.

The gateway may refuse what nginx reads, and closes the connection then or goes on where nginx does. STRICTER lists what
it refuses, LAXER what nginx refuses and the gateway reads, none of which is about where a message ends.
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
"""Who asks the gateway, who asks nginx, and another client of nginx."""
TIMEOUT = 0.5
"""Seconds that a server may be silent before it is told more."""
_MORE_PATIENCE = 5.0
"""The same for the second time, should the first have been too short for a busy machine."""
_AT_A_TIME = 24

STRICTER = set(
    # Ends of lines without CR, which nginx takes (RFC 9112 section 2.2 lets it)
    "line-feeds line-feeds-body line-feed-at-the-end line-feed-in-the-middle line-feed-ends-the-head field-lf-injection"
    " chunk-line-feeds chunk-line-feed-after-size chunk-line-feed-after-data chunk-line-feed-at-the-end"
    " chunk-line-feed-after-last chunk-trailer-line-feed chunk-extension-line-feed"
    # Chunks and trailers that break the grammar, or speak of framing
    " chunk-blank-after chunk-tab-after chunk-extension-nul chunk-too-short chunk-last-has-data chunk-trailer-length"
    " chunk-trailer-coding chunk-trailer-folded chunk-trailer-no-colon chunk-trailer-is-a-request"
    # Fields whose names are none; nginx leaves them out
    " field-no-colon field-high-in-name field-slash-in-name field-quote-in-name"
    # Request lines
    " line-blank-at-end line-absolute-ftp line-version-1.2 line-version-1.10".split()
)
LAXER = set(
    # The gateway answers OPTIONS * itself
    "line-options te-options"
    # A tab is as good as a blank around a value (RFC 9110 section 5.6.3)
    " cl-tab te-tab-before host-tab"
    # Hosts by RFC 3986, if odd ones; without one there is server.hostname
    " host-empty host-1.0-empty host-dot host-dots"
    # A % that begins no escape stays as it is
    " line-percent line-percent-short"
    " expect-twice".split()
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """nginx as in deploy/, with kept connections to a gateway."""
    with serving("wagi-gateway.conf", tmp_path_factory.mktemp("differential"), cache) as running:
        yield running


def ask(site: Site, data: bytes) -> tuple[Reading, Reading]:
    """What the gateway and nginx make of the same bytes; then another client of nginx gets its own answer."""
    readings = _read(site, data, TIMEOUT)
    if disagreement(*readings):
        readings = _read(site, data, _MORE_PATIENCE)
    with connected(site.address, ANOTHER) as connection:
        mine = f"/mine/{hash(data)}"
        given = connection.ask(message(f"POST {mine} HTTP/1.1", "Host: h", "Content-Length: 4", body=b"mine")).seen
    assert (given["REQUEST_URI"], given.stdin) == (mine.encode(), b"mine")
    return readings


def _read(site: Site, data: bytes, patience: float) -> tuple[Reading, Reading]:
    return (
        read(site.gateway.address, data, DIRECT, patience),
        read(site.address, data, THROUGH_NGINX, patience, speaks_0_9=True),
    )


def ask_all(site: Site, requests: Iterable[bytes]) -> list[tuple[Reading, Reading]]:
    """Many at the same time, which share nginx's connections to the gateway."""
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return list(threads.map(lambda data: ask(site, data), requests))


def disagreement(gateway: Reading, nginx: Reading) -> str:
    """How the two contradict each other; empty where they do not."""
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
    """What the gateway and nginx make of each case."""
    return dict(zip(CASES, ask_all(site, CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_no_disagreement(readings: dict[str, tuple[Reading, Reading]], name: str) -> None:
    assert disagreement(*readings[name]) == ""


def test_who_is_stricter(readings: dict[str, tuple[Reading, Reading]]) -> None:
    firsts = {
        name: (gateway.requests[0].is_refused, nginx.requests[0].is_refused)
        for name, (gateway, nginx) in readings.items()
        if gateway.requests and nginx.requests
    }
    assert {name for name, (gateway, nginx) in firsts.items() if gateway and not nginx} - STRICTER == set()
    assert {name for name, (gateway, nginx) in firsts.items() if nginx and not gateway} - LAXER == set()
    assert {name for name in STRICTER if not firsts[name][0]} == set()
    assert {name for name in LAXER if firsts[name][0]} == set()
    # Who waits for the rest of a chunk that is larger than any body: the gateway, until limits.body or body_time.
    assert {name for name in CASES if name not in firsts} <= {"chunk-2^32", "chunk-2^63"}


def test_what_is_doubtful_closes_the_connection(readings: dict[str, tuple[Reading, Reading]]) -> None:
    framing = [name for name in CASES if name.startswith(("te-", "cl-", "chunk-", "line-feed", "pipelined"))]
    for name in framing:
        gateway, _ = readings[name]
        if gateway.requests and gateway.requests[0].status in (400, 501):
            assert (len(gateway.requests), gateway.is_closed) == (1, True), name


def assert_nothing_smuggled(site: Site) -> None:
    """Every request that a guest has answered is one that nginx knows, by its id."""

    def forwarded() -> set[str]:
        lines = (site.log.parent / "access.log").read_text().splitlines()
        return {word for line in lines for word in re.findall(r"[0-9a-f]{18}", line.rpartition(' "')[2])}

    def answered() -> set[str]:  # by a guest: what a client has given up on has none
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
    """A case with something put in, taken out or doubled."""
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
