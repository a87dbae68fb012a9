"""A browser's request and its CGI part, in this process, without a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from wagi_gateway.cgi.environ import build_argv, build_environ
from wagi_gateway.cgi.request import RequestHead, find_authority
from wagi_gateway.cgi.response import HeaderBlock
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.sandbox import inline, sandbox
from wagi_gateway.sandbox.invocation import Invocation
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Endpoint, Site

from ..guests.wat import ENVIRON_WAT
from ..harness.server import ROUTE
from .asgi import HEADERS

OUTPUT = b"content-type: text/plain\n\nhello world\n"
REQUEST = RequestHead(
    method="GET",
    raw_path=ROUTE.encode(),
    query=b"",
    http_version="1.1",
    scheme="http",
    headers=HEADERS,
    client=("127.0.0.1", 50000),
    server=("127.0.0.1", 3000),
    request_id="0123456789abcdef",
)


def load_hello(guest: Path = ENVIRON_WAT) -> Site:
    """A site with one hello guest; the default guest reads its environment."""
    module = {"route": ROUTE, "module": str(guest)}
    return load(config_from_tables(Path("benchmarks"), {"module": [module], "cache": {"enabled": False}}))


def allow_slow_guests() -> None:
    """Runs guests on the event loop's thread however long they take, without a second run or an interruption: under a
    tool that makes all slow, and on a busy machine."""
    inline._FAST, inline.TIME_SLICE, sandbox._EPOCH_INTERVAL = 60.0, 60.0, 60.0


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
    """Microseconds of processor time of the pure functions of a request: route, environment, arguments, head."""
    operator = prepare(site)[0].operator
    begin = time.process_time()
    for _ in range(count):
        match = site.router.match(REQUEST.raw_path)
        assert match
        build_environ(REQUEST, match, authority=find_authority(REQUEST), operator=operator)
        build_argv(None, "wagi", REQUEST, match.path)
        assert HeaderBlock(65536).feed(OUTPUT)
    return (time.process_time() - begin) / count * 1e6
