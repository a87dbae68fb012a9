"""What one invocation costs: the sandbox alone, and requests per second over HTTP beside bare uvicorn.

    python -m benchmarks.invocation            # half a minute; needs wrk (Debian: apt-get install wrk)

Sandbox: one guest (samples/wat/hello.wat) after the other on one thread, with the environment of a usual request. HTTP:
wrk against one worker without access log and against `benchmarks.bare`, in turns, so that what else the machine does
meets both; the first turn warms up and does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wagi_gateway.cgi.environ import RequestHead, build_argv, build_environ, find_authority
from wagi_gateway.cgi.response import HeaderBlock
from wagi_gateway.configfile import config_from_tables
from wagi_gateway.sandbox import Invocation, Sandbox, capi
from wagi_gateway.sandbox.pipes import descriptor_path, open_pipe, read_available
from wagi_gateway.site import Site
from wagi_gateway.startup import load

GUEST = Path(__file__).parent.parent / "samples" / "wat" / "hello.wat"
ROUTE = "/hello"
CONNECTIONS = 16
OUTPUT = b"content-type: text/plain\n\nhello world\n"
REQUEST = RequestHead(
    method="GET",
    raw_path=ROUTE.encode(),
    query=b"",
    http_version="1.1",
    scheme="http",
    headers=(
        (b"host", b"localhost:3000"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (b"accept-language", b"en-US,en;q=0.5"),
        (b"accept-encoding", b"gzip, deflate, br"),
    ),
    client=("127.0.0.1", 50000),
    server=("127.0.0.1", 3000),
    request_id="0123456789abcdef",
)


def main() -> None:
    """Measures and prints one table."""
    options = _options()
    if shutil.which("wrk") is None:
        sys.exit("benchmarks: wrk is not installed (Debian: apt-get install wrk)")
    load_before = os.getloadavg()[0]
    site = load(config_from_tables(Path("benchmarks"), _site_tables()))
    invocation = _maker(site)
    bare_loop = [_bare_loop(site, invocation, options.invocations) for _ in range(options.rounds + 1)][1:]
    sandbox = [asyncio.run(_sandbox(site, invocation, options.invocations)) for _ in range(options.rounds + 1)][1:]
    cgi = [_cgi(site, options.invocations) for _ in range(options.rounds + 1)][1:]
    uvicorn, gateway = _http(options.rounds, options.seconds)
    ratios = [ours / theirs for ours, theirs in zip(gateway, uvicorn, strict=True)]
    shares = [cost * rate / 1e6 for cost, rate in zip(cgi, gateway, strict=True)]

    print(machine("wasmtime", "uvicorn", "uvloop"))
    print(f"load average before: {load_before:.1f}")
    print(
        f"{options.rounds} rounds of {options.invocations} invocations and {options.seconds} s wrk -c{CONNECTIONS} -t1"
    )
    print(f"\n{'':46}{'median':>9}{'min':>9}{'max':>9}")
    row("sandbox alone: capi.run, µs", bare_loop, 1)
    row("sandbox: start, read and release, µs", sandbox, 1)
    row("CGI: environment, arguments, header block, µs", cgi, 1)
    row("HTTP: bare uvicorn, requests/s", uvicorn, 0)
    row("HTTP: wagi-gateway, 1 worker, requests/s", gateway, 0)
    row("HTTP: wagi-gateway / bare uvicorn", ratios, 2)
    row("CGI: share of a request", shares, 3)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.invocation", description="What one invocation costs.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--seconds", type=int, default=2, help="how long wrk runs each time")
    parser.add_argument("--invocations", type=int, default=5000, help="how many guests run each time")
    return parser.parse_args()


def _site_tables() -> dict[str, object]:
    return {"module": [{"route": ROUTE, "module": str(GUEST)}], "cache": {"enabled": False}}


def _maker(site: Site) -> Callable[[], Invocation]:
    """Makes what the gateway makes of REQUEST."""
    match = site.router.match(REQUEST.raw_path)
    assert match
    endpoint = match.target
    environ = build_environ(REQUEST, match, authority=find_authority(REQUEST), operator=endpoint.operator)
    entrypoint = endpoint.entrypoint.encode()
    return lambda: Invocation(endpoint.module, entrypoint, limits=endpoint.limits, argv=[match.path], environ=environ)


def _cgi(site: Site, count: int) -> float:
    """Microseconds for what is pure CGI in a request: its environment and arguments, and the response's head."""
    begin = time.perf_counter()
    for _ in range(count):
        match = site.router.match(REQUEST.raw_path)
        assert match
        build_environ(REQUEST, match, authority=find_authority(REQUEST), operator=match.target.operator)
        build_argv(None, "wagi", REQUEST, match.path)
        assert HeaderBlock(65536).feed(OUTPUT)
    return (time.perf_counter() - begin) / count * 1e6


def _bare_loop(site: Site, invocation: Callable[[], Invocation], count: int) -> float:
    """Microseconds per guest of the hot path alone."""
    with contextlib.ExitStack() as stack:
        stdout, writer = open_pipe(stack)
        path = descriptor_path(writer)
        begin = time.perf_counter()
        for _ in range(count):
            capi.run(site.engine, invocation(), path, path)
            assert read_available(stdout)
        return (time.perf_counter() - begin) / count * 1e6


async def _sandbox(site: Site, invocation: Callable[[], Invocation], count: int) -> float:
    """Microseconds per guest as the gateway runs it, the hop to a thread and back included."""
    async with Sandbox(site.engine) as sandbox:
        begin = time.perf_counter()
        for _ in range(count):
            execution = sandbox.start(invocation())
            while await execution.read():
                pass
            execution.release()
        return (time.perf_counter() - begin) / count * 1e6


def _http(rounds: int, seconds: int) -> tuple[list[float], list[float]]:
    """Requests per second of bare uvicorn and of the gateway, in turns."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        config = Path(directory, "modules.toml")
        config.write_text(f'[[module]]\nroute = "{ROUTE}"\nmodule = "{GUEST}"\n[log]\naccess = false\n')
        serve = ["wagi_gateway", "serve", str(config), "--listen", "127.0.0.1:0", "--cache-dir", f"{directory}/cache"]
        uvicorn = stack.enter_context(serving("benchmarks.bare"))
        gateway = stack.enter_context(serving(*serve))
        turns = [(wrk(uvicorn + ROUTE, seconds), wrk(gateway + ROUTE, seconds)) for _ in range(rounds + 1)][1:]
    return [turn[0] for turn in turns], [turn[1] for turn in turns]


@contextlib.contextmanager
def serving(*module: str) -> Iterator[str]:
    """The URL of a server that runs in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.PIPE, text=True, cwd=GUEST.parents[2])
    try:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("Ready: serving on "):
                yield line.split()[-1]
                return
        raise SystemExit(f"benchmarks: {module[0]} does not start")
    finally:
        process.terminate()
        process.communicate()


def wrk(url: str, seconds: int) -> float:
    """Requests per second."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", report)
    if not found or "Socket errors" in report or "Non-2xx" in report:
        raise SystemExit(f"benchmarks: {url} answered with errors:\n{report}")
    return float(found[1])


def machine(*packages: str) -> str:
    """What was measured on, with the versions of these packages."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{platform.python_implementation()} {platform.python_version()}, {versions}\n{_processor()}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            return f"{os.cpu_count()} x {found[1]}, {platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}"


def row(name: str, values: list[float], digits: int) -> None:
    """Prints a line of the table."""
    numbers = (statistics.median(values), min(values), max(values))
    print(f"{name:46}" + "".join(f"{number:>9,.{digits}f}" for number in numbers))


if __name__ == "__main__":
    main()
