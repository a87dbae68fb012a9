"""Promises to clients hold directly and behind nginx, with one process and with two, on two starts with one cache."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.conftest import Server, running
from tests.support import guests
from tests.support.admin import ADMIN, ask
from tests.support.config import config, module
from tests.support.fault_proxy import Answer, FaultProxy
from tests.support.nginx import Address, nginx_before
from tests.support.publishing import publish, says
from tests.support.registry import Registry

SECRET = "h0rse-b4ttery"
ORDERS = {b"X-Accel-Redirect: /internal/secret", b"X-Envoy-Decorator-Operation: a", b"X-LiteSpeed-Location: /a"}
STARTS = {"first start": "1", "second start": "2"}
"""The number of workers of each start; both have one cache."""
WAYS = ["direct", "nginx"]


class Site(NamedTuple):
    """A running gateway and its addresses."""

    server: Server
    addresses: dict[str, Address]

    def get(self, way: str, path: str, **fields: str) -> httpx.Response:
        """A GET over a connection of its own, so that each worker gets some."""
        host, port = self.addresses[way]
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return httpx.get(f"http://{host}:{port}{path}", headers=headers, trust_env=False, timeout=60)

    def status(self, way: str, head: bytes) -> bytes:
        """The status of a raw request."""
        with socket.create_connection(self.addresses[way], 30) as connection:
            connection.sendall(head + b"\r\nHost: h\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))[9:12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both starts, with their cache."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "files/private").mkdir(parents=True)
    (directory / "files/a.txt").write_text("abc")
    (directory / "files/latin.html").write_bytes(b"<p>\xe9")
    (directory / "hello.wat").write_text(guests.HELLO)
    orders = b"\n".join(sorted(ORDERS))
    (directory / "orders.wat").write_text(guests.says(b"content-type: text/plain\n" + orders + b"\n\nown"))
    (directory / "loop.wat").write_text(guests.says(f"location: /loop?token={SECRET}\n\n".encode()))
    (directory / "cache").mkdir(mode=0o700)
    return directory


@pytest.fixture(scope="module")
def etags() -> set[str]:
    """The entity tags of one file, by all workers of all starts."""
    return set()


@pytest.fixture(scope="module", params=list(STARTS.items()), ids=list(STARTS))
def site(
    request: pytest.FixtureRequest, folder: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The gateway with a module from a registry that refuses HEAD."""
    name, workers = request.param
    publish(registry, "team/pulled:1", says("pulled"))
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(registry.address))
        proxy.fault(lambda received: received.method == "HEAD", lambda *_: Answer(403))
        text = ADMIN + config(
            module("/private/...", "hello.wat", environment={"A": SECRET}),
            module("/[x]", "hello.wat"),
            module("/orders", "orders.wat"),
            module("/loop", "loop.wat"),
            module("/pulled", f"oci:{proxy.address}/team/pulled:1", pull_policy="always"),
            static=[{"route": "/files/...", "directory": "files"}],
            outbound={"proxy": f"http://user:{SECRET}@127.0.0.1:9"},
            log={"level": "debug", "query": False},
        )
        options = ("--workers", workers, "--env", f"B={SECRET}")
        server = stack.enter_context(running(folder, text, *options, cache=folder / "cache"))
        nginx = stack.enter_context(nginx_before(server.address, tmp_path_factory.mktemp(name.split()[0])))
        yield Site(server, {"direct": server.address, "nginx": nginx.plain})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "head",
    [
        b"GET /private//../x HTTP/1.1",
        b"GET /x/..//private/x HTTP/1.1",
        b"GET /a%2Fb/%2e%2e/private/x HTTP/1.1",
        b"GET /files/private/../..//a.txt HTTP/1.1",
        b"GET /private\xc3\xa9 HTTP/1.1",
        b"OPTIONS /private/x RTSP/1.0",
        b"SOURCE /private/x ICE/1.0",
    ],
)
def test_what_servers_read_differently_is_refused(site: Site, way: str, head: bytes) -> None:
    assert site.status(way, head) == b"400"


@pytest.mark.parametrize("way", WAYS)
def test_a_route_may_be_asked_for_raw_or_encoded(site: Site, way: str) -> None:
    for target in (b"/[x]", b"/%5Bx%5D", b"/%5bx]"):
        assert site.status(way, b"GET %b HTTP/1.1" % target) == b"200"


@pytest.mark.parametrize("way", WAYS)
def test_preconditions_of_files(site: Site, way: str, etags: set[str]) -> None:
    etags |= {site.get(way, "/files/a.txt").headers["etag"] for _ in range(8)}
    assert len(etags) == 1, "each worker has tags of its own"
    (etag,) = etags
    for fields, status in (
        ({"if_none_match": etag}, 304),
        ({"if_match": etag, "range": "bytes=0-0"}, 206),
        ({"if_match": '"old"', "range": "bytes=0-0"}, 412),
        ({"if_unmodified_since": "Sun, 06 Nov 1994 08:49:37 GMT", "range": "bytes=0-0"}, 412),
        ({"if_range": '"old"', "range": "bytes=0-0"}, 200),
    ):
        assert site.get(way, "/files/a.txt", **fields).status_code == status, fields


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_not_utf_8_is_not_called_so(site: Site, way: str) -> None:
    assert site.get(way, "/files/latin.html").headers["content-type"] == "text/html"


@pytest.mark.parametrize("way", WAYS)
def test_a_module_gives_the_front_server_no_orders(site: Site, way: str) -> None:
    answer = site.get(way, "/orders")
    assert answer.text == "own"
    assert not {order.split(b":")[0].decode().lower() for order in ORDERS} & answer.headers.keys()


@pytest.mark.parametrize("way", WAYS)
def test_a_module_of_a_registry_that_refuses_head(site: Site, way: str) -> None:
    assert site.get(way, "/pulled").text == "pulled"


def test_no_secret_is_in_the_log_or_on_a_page_of_the_operator(site: Site) -> None:
    for way in WAYS:
        fields = {"authorization": f"Bearer {SECRET}", "cookie": SECRET, "referer": f"http://h/?{SECRET}"}
        assert site.get(way, f"/private/x?token={SECRET}", **fields).text == "hello world\n"
        assert site.get(way, f"/none?token={SECRET}", **fields).status_code == 404
        assert site.get(way, "/loop").status_code == 502
        assert site.status(way, f"GET http://user:{SECRET}@h/private/x HTTP/1.1".encode()) in (b"400", b"200")
    site.server.wait_for_log(r"GET /none status=404 (.|\n)*GET /none status=404 ")
    assert SECRET not in site.server.log_path.read_text() + "".join(site.server.stdout)
    for page in ("/metrics", "/status", "/readyz"):
        assert SECRET not in ask(site.server, page).text


def test_a_proxy_that_is_not_trusted_is_noticed_once(site: Site) -> None:
    for _ in range(8):
        site.get("nginx", "/private/x")
    site.server.wait_for_log(r"X-Forwarded-For from 127\.0\.0\.1 is ignored")
    assert len(re.findall("is ignored", site.server.log)) == 1
