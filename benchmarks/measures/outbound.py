"""The cost of an outbound call: a GET by a guest beside the same GET by httpx.

    python -m benchmarks.measures.outbound     # half a minute; needs wrk (Debian: apt-get install wrk)

The target of the calls is `benchmarks.servers.bare` in a process of its own, on loopback. Four requests take turns over
one connection: a GET by httpx alone, a module without a call, a module with one call, and, in every hundredth turn, a
module with 100 calls. Turns of single requests give all four the same caches and the same machine load; the first
round warms up and does not count. Limit: one call may cost 1.5 times the GET of httpx, both as the first and as one of
many. Then wrk requests a module whose target answers after 2 ms: a guest that waits must not delay other guests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ..harness.cores import ALL
from ..harness.load import CONNECTIONS, check_wrk, wrk
from ..harness.machine import machine
from ..harness.server import serving
from ..servers.slow import DELAY

TARGET = 1.5
"""The greatest ratio of a call's cost to that of httpx."""
MANY = 100
"""Calls of the module that makes many."""

# Requests the URL `count` times, reads each response to its end, and traps if a call fails.
GUEST = """(module
 (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (import "wasi_experimental_http" "req"
  (func $req (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (import "wasi_experimental_http" "body_read" (func $body_read (param i32 i32 i32 i32) (result i32)))
 (import "wasi_experimental_http" "close" (func $close (param i32) (result i32)))
 (memory (export "memory") 1)
 (data (i32.const 64) "\\00\\04\\00\\00\\26\\00\\00\\00")
 (data (i32.const 256) "GET") (data (i32.const 512) "{url}")
 (data (i32.const 1024) "content-type: text/plain\\n\\nhello world\\n")
 (func (export "_start") (local $left i32)
  (local.set $left (i32.const {count}))
  (block $done
   (br_if $done (i32.eqz (local.get $left)))
   (loop $next
    (if (call $req (i32.const 512) (i32.const {size}) (i32.const 256) (i32.const 3) (i32.const 0) (i32.const 0)
     (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16)) (then unreachable))
    (loop $more
     (if (call $body_read (i32.load (i32.const 16)) (i32.const 2048) (i32.const 4096) (i32.const 24))
      (then unreachable))
     (br_if $more (i32.load (i32.const 24))))
    (drop (call $close (i32.load (i32.const 16))))
    (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
  (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72)))))
"""


@dataclass(slots=True)
class Times:
    """Microseconds per request, one median for each turn."""

    httpx: list[float] = field(default_factory=list)
    none: list[float] = field(default_factory=list)
    """A request to the module without a call."""
    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)

    @property
    def added(self) -> list[float]:
        """The cost that one call adds to a request."""
        return [one - none for one, none in zip(self.one, self.none, strict=True)]

    @property
    def of_many(self) -> list[float]:
        """The cost of one of many calls."""
        return [(many - none) / MANY for many, none in zip(self.many, self.none, strict=True)]


def main() -> None:
    """Measures and prints one table; exits with 1 if a ratio is over the target."""
    options = _options()
    check_wrk()
    load_before = os.getloadavg()[0]
    times, (alone, late, prompt) = _measure(options.turns, options.requests, options.seconds)
    ratios = {
        "a call added to a request / httpx": _ratios(times.added, times.httpx),
        f"one of {MANY} calls in a request / httpx": _ratios(times.of_many, times.httpx),
    }
    print(machine("wasmtime", "httpcore2", "httpx", "uvicorn"))
    print(f"load average before: {load_before:.1f}")
    print(f"{options.turns} turns of {options.requests} requests each, and {options.seconds} s wrk -c{CONNECTIONS} -t1")
    print(f"\n{'':46}{'median':>9}{'min':>9}{'max':>9}")
    row("GET by httpx alone, µs", times.httpx, 0)
    row("request to a module that calls nobody, µs", times.none, 0)
    row("request to a module with one call, µs", times.one, 0)
    row("what the call added, µs", times.added, 0)
    row(f"one of {MANY} calls in a request, µs", times.of_many, 0)
    for name, values in ratios.items():
        row(name, values, 2)
    row(f"wrk: target that takes {DELAY * 1000:g} ms, requests/s", alone, 0)
    row("wrk: module that calls it, requests/s", late, 0)
    row("wrk: module that calls a prompt one, requests/s", prompt, 0)
    missed = [name for name, values in ratios.items() if statistics.median(values) > options.target]
    for name in missed:
        print(f"\nmissed: {name} is over {options.target:g}")
    sys.exit(bool(missed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.measures.outbound", description="What an outbound call costs."
    )
    parser.add_argument("--turns", type=int, default=15, help="how often each is measured")
    parser.add_argument("--requests", type=int, default=300, help="how many requests each time")
    parser.add_argument("--seconds", type=int, default=2, help="how long wrk runs each time")
    parser.add_argument("--target", type=float, default=TARGET, help="the ratio that must not be exceeded")
    return parser.parse_args()


def _measure(turns: int, requests: int, seconds: int) -> tuple[Times, list[list[float]]]:
    """The times of each turn; and requests per second of the slow target, of a module that calls the slow target, and
    of a module that calls the fast target."""
    times = Times()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        target = stack.enter_context(serving("benchmarks.servers.bare", cores=ALL)).url
        late = stack.enter_context(serving("benchmarks.servers.slow", cores=ALL)).url
        config = "[log]\naccess = false\nlevel = 'warning'\n"
        for name, url, count in (("none", target, 0), ("one", target, 1), ("many", target, MANY), ("late", late, 1)):
            url += "/hello"
            Path(directory, f"{name}.wat").write_text(GUEST.format(url=url, size=len(url), count=count))
            config += f'[[module]]\nroute = "/{name}"\nmodule = "{name}.wat"\nallowed_hosts = ["{target}", "{late}"]\n'
        file = Path(directory, "modules.toml")
        file.write_text(config)
        serve = ["wagi_gateway", "serve", str(file), "--listen", "127.0.0.1:0", "--cache-dir", f"{directory}/cache"]
        gateway = stack.enter_context(serving(*serve, cores=ALL)).url
        with httpx.Client(trust_env=False) as to_target, httpx.Client(trust_env=False) as to_gateway:
            requested = (
                (times.httpx, to_target, f"{target}/hello", 1),
                (times.none, to_gateway, f"{gateway}/none", 1),
                (times.one, to_gateway, f"{gateway}/one", 1),
                (times.many, to_gateway, f"{gateway}/many", MANY),
            )
            for turn in range(turns + 1):
                found: list[list[float]] = [[] for _ in requested]
                for number in range(requests):
                    for values, (_, client, url, every) in zip(found, requested, strict=True):
                        if number % every == 0:
                            values.append(_time(client, url))
                if turn:
                    for values, (medians, *_) in zip(found, requested, strict=True):
                        medians.append(statistics.median(values))
        urls = (f"{late}/hello", f"{gateway}/late", f"{gateway}/one")
        rates = [[wrk(url, seconds, cores=ALL).rate for url in urls] for _ in range(3)][1:]
    return times, [list(values) for values in zip(*rates, strict=True)]


def _time(client: httpx.Client, url: str) -> float:
    """Microseconds of a request. Exits if the response is another one."""
    begin = time.perf_counter()
    response = client.get(url)
    seconds = time.perf_counter() - begin
    if response.text != "hello world\n":
        raise SystemExit(f"benchmarks: {url} answered {response.status_code}: {response.text}")
    return seconds * 1e6


def row(name: str, values: list[float], digits: int) -> None:
    """Prints a line of the table."""
    numbers = (statistics.median(values), min(values), max(values))
    print(f"{name:46}" + "".join(f"{number:>9,.{digits}f}" for number in numbers))


def _ratios(values: list[float], by: list[float]) -> list[float]:
    return [value / other for value, other in zip(values, by, strict=True)]


if __name__ == "__main__":
    main()
