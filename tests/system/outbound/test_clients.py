"""Outbound calls of guests in several languages through a running gateway."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import pytest
import trustme

from tests.conftest import ROOT
from tests.support import clients
from tests.support.clients import (
    LARGE,
    SMALL,
    Answer,
    Asked,
    Client,
    build_clients,
    c_client,
    independent_client,
    script,
)
from tests.support.config import config, module
from tests.support.farm import Target, pattern
from tests.system.foreign.toolchains import Toolchains
from tests.system.outbound.conftest import Lab

HELLO = b"hello from the target\n"


@dataclass(frozen=True, slots=True)
class Site(clients.Site):
    """A gateway and the servers that its guests may call."""

    plain: Target
    secure: Target
    stranger: Target
    """Permitted, but its certificate comes from an authority that the gateway does not know."""
    misnamed: Target
    """Permitted, but its certificate is another host's."""


@pytest.fixture(scope="module")
def site(lab: Lab, toolchains: Toolchains) -> Site:
    build_clients(lab.directory, toolchains)
    plain, denied = lab.target(), lab.target()
    secure = lab.target(lab.authority.issue_cert("127.0.0.1"))
    stranger = lab.target(trustme.CA().issue_cert("127.0.0.1"))
    misnamed = lab.target(lab.authority.issue_cert("other.test"))
    allowed = [target.url for target in (plain, secure, stranger, misnamed)]
    modules = [
        module(f"/{route}", f"{route}.wasm", allowed_hosts=allowed, http_max_concurrency=2)
        for route in ("caller", "independent", "binding")
    ]
    fetch = ROOT / "samples/assemblyscript/fetch.wasm"
    for route, url in (("fetch", f"{plain.url}/hello"), ("fetch-denied", f"{denied.url}/hello")):
        modules.append(module(f"/{route}", fetch, allowed_hosts=allowed, environment={"URL": url}))
    gateway = lab.serve(config(*modules, outbound={"ca_file": "ca.pem"}))
    return Site(gateway, denied, plain, secure, stranger, misnamed)


@pytest.fixture(params=[c_client, independent_client], ids=["c", "assemblyscript"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


@pytest.fixture(params=["http", "https"])
def target(request: pytest.FixtureRequest, site: Site) -> Target:
    return site.plain if request.param == "http" else site.secure


def test_get(site: Site, client: Client, target: Target) -> None:
    answer = client(site.gateway, Asked("GET", f"{target.url}/hello", look_up="content-type"))
    assert answer == Answer.of(200, HELLO, (0, "text/plain"))
    received = target.requests[-1]
    assert (received.method, received.target, received.body) == ("GET", "/hello", b"")
    assert received.header("host") == target.url.partition("://")[2]


def test_post_with_a_body(site: Site, client: Client, target: Target) -> None:
    body = "naïve ✓ 日本語".encode()
    asked = Asked("POST", f"{target.url}/echo?a=1&b", "content-type:text/x-test", body, look_up="x-method")
    assert client(site.gateway, asked) == Answer.of(200, body, (0, "POST"))
    received = target.requests[-1]
    assert (received.method, received.target, received.body) == ("POST", "/echo?a=1&b", body)
    assert (received.header("content-type"), received.header("content-length")) == ("text/x-test", str(len(body)))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods(site: Site, client: Client, method: str) -> None:
    answer = client(site.gateway, Asked(method, f"{site.plain.url}/echo", body=b"body", look_up="x-method"))
    assert answer == Answer.of(200, b"body", (0, method))


@pytest.mark.parametrize("method", ["HEAD", "BREW", "get"])
def test_methods_are_sent_as_they_are(site: Site, method: str) -> None:
    results = script(site.gateway, f"req {method} {site.plain.url}/echo", "get x-method 10")
    assert results == [["req", "0", "200", "0"], ["get", "0", str(len(method)), method]]


@pytest.mark.parametrize("status", [201, 204, 404, 503])
def test_a_status_is_handed_over(site: Site, client: Client, status: int) -> None:
    answer = client(site.gateway, Asked("GET", f"{site.plain.url}/status/{status}"))
    assert (answer.error, answer.status) == (0, status)


@pytest.mark.parametrize(
    ("headers", "look_up", "room", "result"),
    [
        pytest.param("x-one=1", "x-one", 1, (0, "1"), id="just-fits"),
        pytest.param("x-one=12", "x-one", 1, (4, ""), id="buffer-too-small"),
        pytest.param("x-one=", "x-one", 1, (0, ""), id="empty"),
        pytest.param("X-One=1", "x-oNE", 0, (0, "1"), id="any-case"),
        pytest.param("x-one=1&x-one=2", "x-one", 0, (0, "1"), id="first-of-two"),
        pytest.param("x-one=1", "x-two", 0, (5, ""), id="absent"),
        pytest.param(f"size={SMALL}", "x-size", SMALL, (0, "x" * SMALL), id="4KiB"),
        pytest.param(f"size={SMALL + 1}", "x-size", SMALL, (4, ""), id="over-4KiB"),
        pytest.param(f"size={SMALL + 1}", "x-size", 0, (0, "x" * (SMALL + 1)), id="over-4KiB-tried-again"),
    ],
)
def test_header_look_ups(
    site: Site, client: Client, headers: str, look_up: str, room: int, result: tuple[int, str]
) -> None:
    asked = Asked("GET", f"{site.plain.url}/headers?{headers}", look_up=look_up, room=room)
    assert client(site.gateway, asked) == Answer.of(200, b"", result)


@pytest.mark.parametrize("framing", ["", "&chunked"], ids=["content-length", "chunked"])
@pytest.mark.parametrize("part", [997, SMALL, LARGE])
def test_a_mebibyte_in_small_reads(site: Site, client: Client, target: Target, part: int, framing: str) -> None:
    asked = Asked("GET", f"{target.url}/big?size={2**20}{framing}", part=part)
    assert client(site.gateway, asked) == Answer.of(200, pattern(2**20))


def test_a_denied_host_is_not_contacted(site: Site, client: Client) -> None:
    assert client(site.gateway, Asked("GET", f"{site.denied.url}/hello")) == Answer(7)
    assert (site.denied.connections(), site.denied.requests) == (0, [])


def test_too_many_open_responses(site: Site, client: Client) -> None:
    url = f"{site.plain.url}/hello"
    assert client(site.gateway, Asked("GET", url, held=1)) == Answer.of(200, HELLO)
    before = len(site.plain.requests)
    assert client(site.gateway, Asked("GET", url, held=2)) == Answer(13)
    assert len(site.plain.requests) - before == 2
    assert client(site.gateway, Asked("GET", url)) == Answer.of(200, HELLO), "what a guest left open is closed"


@pytest.mark.parametrize("name", ["stranger", "misnamed"])
def test_certificates_are_verified(site: Site, client: Client, name: str) -> None:
    target: Target = getattr(site, name)
    assert client(site.gateway, Asked("GET", f"{target.url}/hello")) == Answer(11)
    assert target.requests == []


def test_the_assemblyscript_sample_shows_an_answer(site: Site) -> None:
    response = site.gateway.get("/fetch")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert response.text == f"{site.plain.url}/hello answered 200 (text/plain)\n\nhello from the target\n\n"


def test_the_assemblyscript_sample_says_why_there_is_none(site: Site) -> None:
    response = site.gateway.get("/fetch-denied")
    assert response.status_code == 502
    assert response.text == f"{site.denied.url}/hello: allowed_hosts does not let this module call it\n"


def test_the_assemblyscript_binding(site: Site) -> None:
    lines = site.gateway.get(f"/binding?{site.plain.url}").text.splitlines()
    assert [line.split("|") for line in lines] == [
        ["header", "200", "", "1"],
        ["long header", "200", "", "5000"],
        ["no header", "200", "", "null"],
        ["headers", "200", "", "5"],
        ["read", "200", "", "hé"],
        ["text", "200", "", "llo"],
        ["end", "200", "", "0"],
        ["too many", "0", "too many responses are open", ""],
        ["closed", "200", "the response is not open", ""],
        ["big", "200", "", f"{2**20} 0"],
    ]
    echoed = site.plain.requests[-2]
    assert (echoed.method, echoed.body) == ("POST", "héllo".encode())
    assert (echoed.header("content-type"), echoed.header("x-one")) == ("text/x-test", "1")


def test_all_headers(site: Site) -> None:
    url = f"{site.plain.url}/headers?X-One=1&x-two=a%20b&x-one=3"
    (error, size, lines) = script(site.gateway, f"req GET {url}", "all 65536")[1][1:]
    assert sorted(unquote(lines).splitlines()) == ["content-length:0", "x-one:1", "x-one:3", "x-two:a b"]
    assert (error, int(size)) == ("0", len(unquote(lines)))
    assert script(site.gateway, f"req GET {url}", f"all {int(size) - 1}", f"all {size}")[1:] == [
        ["all", "4", "0", ""],
        ["all", "0", size, lines],
    ]


def test_headers_that_are_not_text(site: Site) -> None:
    url = f"{site.plain.url}/headers?x-one=%E9"
    assert script(site.gateway, f"req GET {url}", "all 65536", "get x-one 10")[1:] == [
        ["all", "12", "0", ""],
        ["get", "0", "1", "%E9"],
    ]


def test_a_body_is_read_in_parts_and_once(site: Site) -> None:
    answers = script(
        site.gateway, f"req GET {site.plain.url}/hello", "read 5", "read 0", "read 99", "read 99", "read 1"
    )
    assert answers[1:] == [
        ["read", "0", "5", "hello"],
        ["read", "0", "0", ""],
        ["read", "0", "17", "%20from%20the%20target%0A"],
        ["read", "0", "0", ""],
        ["read", "0", "0", ""],
    ]


def test_handles(site: Site) -> None:
    req = f"req GET {site.plain.url}/hello"
    lines = [req, req, "use 0", "close", req, "close", req, "close", "use 1", "close", req, req]
    results = script(site.gateway, *lines)
    assert [int(words[3]) for words in results if words[0] == "req"] == [0, 1, 2, 2, 2, 3]
    assert {words[1] for words in results} == {"0"}


@pytest.mark.parametrize("handle", ["1", "0xffffffff"])
def test_handles_that_are_not_open(site: Site, handle: str) -> None:
    req = f"req GET {site.plain.url}/hello"
    results = script(site.gateway, req, f"use {handle}", "get a 1", "all 1", "read 1", "close", "use 0", "read 5")
    assert [words[1] for words in results] == ["0", "1", "1", "1", "0", "0"]
    assert results[-1] == ["read", "0", "5", "hello"]


def test_a_closed_handle_is_not_open(site: Site) -> None:
    req = f"req GET {site.plain.url}/hello"
    results = script(site.gateway, req, "close", "get a 1", "all 1", "read 1", "close")
    assert [words[1] for words in results] == ["0", "0", "1", "1", "1", "0"]


@pytest.mark.parametrize(
    ("error", "method", "url", "header"),
    [
        pytest.param(10, "GET", "", None, id="no-url"),
        pytest.param(10, "GET", "hello", None, id="relative-url"),
        pytest.param(10, "GET", "http://", None, id="no-host"),
        pytest.param(10, "GET", "http://[::1/", None, id="bad-host"),
        pytest.param(10, "GET", "http://127.0.0.1:65536/", None, id="bad-port"),
        pytest.param(10, "GET", "mailto:a@example.com", None, id="no-host-at-all"),
        pytest.param(7, "G(T", "http://example.com/", "bad", id="denied-comes-first"),
        pytest.param(8, "G(T", "{}/hello", "bad", id="method-comes-second"),
        pytest.param(8, "", "{}/hello", None, id="no-method"),
        pytest.param(9, "GET", "{}/hello", "bad", id="no-colon"),
        pytest.param(9, "GET", "{}/hello", "b d:1", id="bad-name"),
        pytest.param(9, "GET", "{}/hello", ":1", id="no-name"),
        pytest.param(9, "GET", "{}/hello", "bad:\x01", id="bad-value"),
    ],
)
def test_wrong_requests(site: Site, error: int, method: str, url: str, header: str | None) -> None:
    before = len(site.plain.requests)
    lines = [f"header {header}"] if header else []
    assert script(site.gateway, *lines, f"req {method} {url.format(site.plain.url)}") == [["req", str(error), "0", "0"]]
    assert len(site.plain.requests) == before


def test_the_last_of_repeated_request_headers_is_sent(site: Site) -> None:
    lines = ["header x-one:1", "header X-One:2", "header x-two: 3"]
    assert script(site.gateway, *lines, f"req GET {site.plain.url}/hello")[0][1] == "0"
    received = site.plain.requests[-1]
    assert (received.header("x-one"), received.header("x-two")) == ("2", "3")


# Scratch holds the URL (28 bytes are enough for its origin) at 0, GET at 100, a header at 110, b"\xff" at 120.
@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param("req &0 {n} &100 3 &110 3 &0 0 &200 &204", 0, id="req"),
        pytest.param("req &0 {n} &100 3 ^0 0 ^0 0 ^2 ^4", 0, id="req-to-the-last-byte"),
        pytest.param("req ^1 2 &100 3 &0 0 &0 0 &200 &204", 4, id="req-url"),
        pytest.param("req 0xffffffff 0xffffffff &100 3 &0 0 &0 0 &200 &204", 4, id="req-url-overflow"),
        pytest.param("req &120 1 &100 3 &0 0 &0 0 &200 &204", 6, id="req-url-text"),
        pytest.param("req &0 {n} ^1 2 &0 0 &0 0 &200 &204", 4, id="req-method"),
        pytest.param("req &0 {n} &120 1 &0 0 &0 0 &200 &204", 6, id="req-method-text"),
        pytest.param("req &0 {n} &100 3 ^1 2 &0 0 &200 &204", 4, id="req-headers"),
        pytest.param("req &0 {n} &100 3 &120 1 &0 0 &200 &204", 6, id="req-headers-text"),
        pytest.param("req &0 {n} &100 3 &0 0 ^1 2 &200 &204", 4, id="req-body"),
        pytest.param("req &0 {n} &100 3 &0 0 &0 0 ^1 &204", 3, id="req-status"),
        pytest.param("req &0 {n} &100 3 &0 0 &0 0 &200 ^3", 3, id="req-handle"),
        pytest.param("close 0xffffffff", 0, id="close"),
        pytest.param("header_get 0 &130 12 &200 100 &300", 0, id="header_get"),
        pytest.param("header_get 0 ^1 2 &200 100 &300", 4, id="header_get-name"),
        pytest.param("header_get 0 &120 1 &200 100 &300", 6, id="header_get-name-text"),
        pytest.param("header_get 0 &130 12 ^9 100 &300", 3, id="header_get-buffer"),
        pytest.param("header_get 0 &130 12 ^10 100 ^3", 3, id="header_get-written"),
        pytest.param("headers_get_all 0 &200 1000 &1500", 0, id="headers_get_all"),
        pytest.param("headers_get_all 0 0xfffffff0 1000 &1500", 3, id="headers_get_all-buffer"),
        pytest.param("headers_get_all 0 &200 1000 ^3", 3, id="headers_get_all-written"),
        pytest.param("body_read 0 ^22 0xffffffff &200", 0, id="body_read-of-what-there-is"),
        pytest.param("body_read 0 ^21 0xffffffff &200", 3, id="body_read-buffer"),
        pytest.param("body_read 0 &200 10 ^3", 3, id="body_read-written"),
    ],
)
def test_addresses(site: Site, call: str, error: int) -> None:
    url = f"{site.plain.url}/hello"
    scratch: list[str | bytes] = [f"put 0 {url}", "put 100 GET", "put 110 a:b", b"put 120 \xff", "put 130 content-type"]
    results = script(site.gateway, f"req GET {url}", *scratch, f"raw {call.format(n=len(url))}", "close", "drain 10")
    assert results[1:] == [["raw", str(error)], ["close", "0"], ["drain", "1", "0", "2166136261", "0"]]


def test_a_status_takes_two_bytes(site: Site) -> None:
    url = f"{site.plain.url}/status/404"
    lines = [f"put 0 {url}", "put 100 GET", "put 200 ........", f"raw req &0 {len(url)} &100 3 &0 0 &0 0 &202 &204"]
    assert script(site.gateway, *lines, "peek 200 8") == [["raw", "0"], ["peek", "..%94%01%00%00%00%00"]]
