"""A browser's request and its CGI part, in this process, without a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from wagi_gateway.cgi.environ import build_argv, build_environ
from wagi_gateway.cgi.request import RequestHead, find_authority
from wagi_gateway.cgi.response import HeaderBlock
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Endpoint, Site

from ..guests.wat import ENVIRON_WAT
from ..harness.server import ROUTE

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


def load_hello(guest: Path = ENVIRON_WAT) -> Site:
    """A site with one hello guest; the default guest reads its environment."""
    module = {"route": ROUTE, "module": str(guest)}
    return load(config_from_tables(Path("benchmarks"), {"module": [module], "cache": {"enabled": False}}))


def invocation_factory(site: Site) -> Callable[[], Invocation]:
    """A function that makes the gateway's invocation of REQUEST, with one environment for all invocations."""
    endpoint, argv, environ = prepare(site)
    entrypoint = endpoint.entrypoint.encode()
    return lambda: Invocation(endpoint.module, entrypoint, limits=endpoint.limits, argv=argv, environ=environ)


def prepare(site: Site) -> tuple[Endpoint, list[bytes], dict[bytes, bytes]]:
    """The endpoint of REQUEST, and the arguments and environment of its guest."""
    match = site.router.match(REQUEST.raw_path)
    assert match
    assert isinstance(match.target, Endpoint)
    environ = build_environ(REQUEST, match, authority=find_authority(REQUEST), operator=match.target.operator)
    return match.target, [match.path], environ


def cgi(site: Site, count: int) -> float:
    """Microseconds per request of the pure functions: route, environment, arguments, response head."""
    operator = prepare(site)[0].operator
    begin = time.perf_counter()
    for _ in range(count):
        match = site.router.match(REQUEST.raw_path)
        assert match
        build_environ(REQUEST, match, authority=find_authority(REQUEST), operator=operator)
        build_argv(None, "wagi", REQUEST, match.path)
        assert HeaderBlock(65536).feed(OUTPUT)
    return (time.perf_counter() - begin) / count * 1e6
