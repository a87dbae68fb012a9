"""Bounds for the time of the pure functions of each request, in units of a piece of plain Python on the same machine.

A unit is the time of `unit()`, measured before and after the function, the best of many runs on both sides. A slow or
busy machine therefore fails no test; a change of order does (a loop over all routes, a regular expression compiled in
each call). The bounds are about twice the measured values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.loops.request import REQUEST
from wagi_gateway.cgi.environ import build_environ
from wagi_gateway.cgi.request import find_authority
from wagi_gateway.cgi.response import HeaderBlock, parse_block
from wagi_gateway.router import RouteMatch, RoutePattern, Router

pytestmark = [pytest.mark.measures, pytest.mark.benchmark(max_time=0.3, min_rounds=20, warmup=False)]

_ROUNDS = 200
_REQUEST = replace(
    REQUEST,
    raw_path=b"/a/b/c",
    query=b"x=1&y=2",
    headers=(
        *REQUEST.headers,
        (b"cookie", b"session=0123456789abcdef0123456789abcdef"),
        (b"x-forwarded-for", b"192.0.2.1"),
    ),
)
_MATCH = RouteMatch(None, "/a/...", b"/a", b"/a/b/c", b"/b/c", b"/b/c")


def unit() -> dict[bytes, bytes]:
    """The yardstick: operations on bytes, a dictionary, a call for each entry. About 10 microseconds."""
    found = {}
    for number in range(30):
        name, _, value = (b"x-name-%d: value" % number).partition(b": ")
        found[name.upper()] = value.strip()
    return found


def best(function: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def units(benchmark: BenchmarkFixture, function: Callable[[], object]) -> float:
    """The time of a call of `function` in units."""
    before = best(unit)
    benchmark(function)
    assert benchmark.stats is not None, "these tests measure; do not disable them"
    quickest: float = benchmark.stats.stats.min
    return quickest / min(before, best(unit))


def router(count: int) -> Router[int]:
    """A router with half of the routes exact and half of them prefixes, in three levels."""
    texts = [f"/some/{number % 30}/path-{number}" + ("/..." if number % 2 else "") for number in range(count)]
    return Router([(RoutePattern(text), number) for number, text in enumerate(texts)])


def test_environ(benchmark: BenchmarkFixture) -> None:
    authority = find_authority(_REQUEST)
    operator = {b"NAME": b"value", b"OTHER": b"value"}
    cost = units(benchmark, lambda: build_environ(_REQUEST, _MATCH, authority=authority, operator=operator))
    assert cost < 2.2


@pytest.mark.parametrize("count", [10, 10_000])
@pytest.mark.parametrize(
    ("path", "bound"),
    [(b"/some/%d/path-%d", 0.5), (b"/some/%d/path-%d/below/it?", 0.65), (b"/else/%d/%d/where", 0.55)],
    ids=["exact", "prefix", "none"],
)
def test_match(benchmark: BenchmarkFixture, path: bytes, bound: float, count: int) -> None:
    routes = router(count)
    last = count - (1 if b"below" in path else 2)
    raw_path = path % (last % 30, last)
    assert (routes.match(raw_path) is None) == raw_path.startswith(b"/else")
    assert units(benchmark, lambda: routes.match(raw_path)) < bound


_SMALL = b"content-type: text/plain\n\nhello world\n"
_LARGE = b"status: 200 OK\n" + b"".join(b"x-field-%d: some value of it\n" % number for number in range(30)) + _SMALL


@pytest.mark.parametrize(("output", "bound"), [(_SMALL, 1.2), (_LARGE, 10)], ids=["1 field", "32 fields"])
def test_header_block(benchmark: BenchmarkFixture, output: bytes, bound: float) -> None:
    assert units(benchmark, lambda: HeaderBlock(65536).feed(output)) < bound


def test_parse_block(benchmark: BenchmarkFixture) -> None:
    block = _LARGE.partition(b"\n\n")[0]
    assert units(benchmark, lambda: parse_block(block)) < 10
