"""The import module `wasi_experimental_http` in a running gateway: error codes, redirects, the received requests."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import clients, guests
from tests.support.clients import REQ, script
from tests.support.config import module
from tests.support.farm import Received, Target
from tests.system.outbound.conftest import Lab


@dataclass(frozen=True, slots=True)
class Site(clients.Site):
    """A gateway and the servers of its calls."""

    target: Target
    other: Target
    """A permitted server of another origin."""
    trap: Target
    """The proxy that the gateway's environment names."""
    closed: str
    """A permitted address without a server."""


@pytest.fixture(scope="module")
def site(lab: Lab, caller: Path) -> Site:
    target, other, denied, trap = (lab.target() for _ in range(4))
    closed = lab.refusing_url()
    allowed: dict[str, object] = {"allowed_hosts": [target.url, other.url, closed]}
    text = "".join(
        module(f"/{route}", caller, **settings)
        for route, settings in (
            ("caller", allowed),
            ("stranger", allowed),
            ("two", allowed | {"http_max_concurrency": 2}),
            ("none", allowed | {"http_max_concurrency": 0}),
            ("unlisted", {}),
            ("empty", {"allowed_hosts": []}),
        )
    )
    netrc = lab.directory / ".netrc"
    netrc.write_text("machine 127.0.0.1 login operator password secret\n")
    netrc.chmod(0o600)
    environment = {"HOME": str(lab.directory), "NETRC": str(netrc), "no_proxy": "", "NO_PROXY": ""}
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        environment |= {name: trap.url, name.upper(): trap.url}
    return Site(lab.serve(text, environment), denied, target, other, trap, closed)


def codes(results: list[list[str]]) -> list[int]:
    """The error of each line."""
    return [int(words[1]) for words in results]


def last(target: Target) -> Received:
    """The last request that arrived."""
    return target.requests[-1]


# Order

# Scratch: a permitted URL at 0, GET at 200, "G(T" at 210, "bad" at 220, b"\xff" at 230, "nonsense" at 240, a denied URL
# at 300, one without a server at 400.
WRONG_URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, WRONG_RESULTS = "^0 1", "^0 1", "^0 1", "^0 1", "^1 ^3"
URL, METHOD = "&0 {url}", "&200 3"
ORDER = [
    pytest.param("/none", 13, WRONG_URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="too-many-open"),
    pytest.param("/caller", 4, WRONG_URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-outside"),
    pytest.param("/caller", 4, "0xffffffff 0xffffffff", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-far-outside"),
    pytest.param("/caller", 4, "&0 0xffffffff", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-ends-outside"),
    pytest.param("/caller", 6, "&230 1", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-no-text"),
    pytest.param("/caller", 10, "&240 8", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-invalid"),
    pytest.param("/unlisted", 10, "&240 8", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-invalid-unlisted"),
    pytest.param("/caller", 10, "&0 0x10001", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="url-too-long"),
    pytest.param("/caller", 7, "&300 {denied}", WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="denied"),
    pytest.param("/unlisted", 7, URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="no-allowed-hosts"),
    pytest.param("/empty", 7, URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="empty-allowed-hosts"),
    pytest.param("/caller", 4, URL, WRONG_METHOD, WRONG_HEADERS, WRONG_BODY, id="method-outside"),
    pytest.param("/caller", 4, URL, "&200 0xffffffff", WRONG_HEADERS, WRONG_BODY, id="method-ends-outside"),
    pytest.param("/caller", 6, URL, "&230 1", WRONG_HEADERS, WRONG_BODY, id="method-no-text"),
    pytest.param("/caller", 8, URL, "&210 3", WRONG_HEADERS, WRONG_BODY, id="method-invalid"),
    pytest.param("/caller", 8, URL, "&200 0", WRONG_HEADERS, WRONG_BODY, id="method-empty"),
    pytest.param("/caller", 4, URL, METHOD, "&220 3", WRONG_BODY, id="body-outside"),
    pytest.param("/caller", 4, URL, METHOD, "&220 3", "&0 0xffffffff", id="body-ends-outside"),
    pytest.param("/caller", 4, URL, METHOD, WRONG_HEADERS, "&0 0", id="headers-outside"),
    pytest.param("/caller", 4, URL, METHOD, "&0 0xffffffff", "&0 0", id="headers-end-outside"),
    pytest.param("/caller", 6, URL, METHOD, "&230 1", "&0 0", id="headers-no-text"),
    pytest.param("/caller", 9, URL, METHOD, "&220 3", "&0 0", id="headers-invalid"),
    pytest.param("/caller", 11, "&400 {closed}", METHOD, "&0 0", "&0 0", id="nobody-answers"),
    pytest.param("/caller", 3, URL, METHOD, "&0 0", "&0 0", id="results-outside"),
]


@pytest.mark.parametrize(("path", "code", "url", "method", "headers", "body"), ORDER)
def test_the_first_thing_that_is_wrong_counts(
    site: Site, path: str, code: int, url: str, method: str, headers: str, body: str
) -> None:
    texts = {
        "url": f"{site.target.url}/hello",
        "denied": f"{site.denied.url}/hello",
        "closed": f"{site.closed}/",
    }
    sizes = {name: len(text) for name, text in texts.items()}
    before = len(site.target.requests)
    results = script(
        site.gateway,
        f"put 0 {texts['url']}",
        *("put 200 GET", "put 210 G(T", "put 220 bad", b"put 230 \xff", "put 240 nonsense"),
        *(f"put 300 {texts['denied']}", f"put 400 {texts['closed']}"),
        f"raw req {url.format(**sizes)} {method} {headers} {body} {WRONG_RESULTS}",
        path=path,
    )
    assert codes(results) == [code]
    assert len(site.target.requests) - before == (1 if code == 3 else 0)
    assert site.denied.connections() == 0


# Addresses and lengths

NUMBERS = ["0", "1", "3", "^0", "^1", "^4", "^7", "&0", "&200", "&60000"]
SIZES = ["0", "1", "3", "4096", "0x7fffffff", "0x80000000", "0xfffffffe", "0xffffffff"]
RESULTS = ["&50000", "^0", "^1", "^4", "0x7fffffff", "0xfffffffd", "0xffffffff"]
HANDLES = ["0", "1", "0x7fffffff", "0x80000000", "0xffffffff"]
PARAMETERS = {
    "req": [NUMBERS, SIZES, NUMBERS, SIZES, NUMBERS, SIZES, NUMBERS, SIZES, RESULTS, RESULTS],
    "close": [HANDLES],
    "header_get": [HANDLES, NUMBERS, SIZES, RESULTS, SIZES, RESULTS],
    "headers_get_all": [HANDLES, RESULTS, SIZES, RESULTS],
    "body_read": [HANDLES, RESULTS, SIZES, RESULTS],
}


@pytest.mark.parametrize("function", PARAMETERS)
def test_no_number_is_too_odd(site: Site, function: str) -> None:
    choice = random.Random(function).choice
    req = f"req GET {site.target.url}/headers?content-type=&x-y=z"
    calls = [f"raw {function} {' '.join(map(choice, PARAMETERS[function]))}" for _ in range(300)]
    calls += [f"raw {function} {' '.join([odd] * 10)}" for odd in ("0xffffffff", "0x80000000", "^0")]
    setup = [f"put 0 {site.target.url}/hello", "put 200 GET", "put 60000 content-type"]
    results = script(site.gateway, *setup, *(line for call in calls for line in (req, call, "use 0", "close")))
    found = [int(words[1]) for words in results if words[0] == "raw"]
    assert len(found) == len(calls)
    assert set(found) <= {0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 13}
    assert "Traceback" not in site.gateway.log


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("header_get 0 &0 5 ^0 0 &200", id="header_get"),
        pytest.param("body_read 0 ^0 0 &200", id="body_read"),
        pytest.param("body_read 0 ^0 4096 &200", id="body_read-of-nothing"),
    ],
)
def test_nothing_may_be_written_to_the_very_end(site: Site, call: str) -> None:
    req = f"req GET {site.target.url}/headers?empty="
    assert codes(script(site.gateway, req, "put 0 empty", f"raw {call}")) == [0, 0]


def test_a_response_whose_handle_cannot_be_stored_is_closed(site: Site) -> None:
    url = f"{site.target.url}/hello"
    call = f"raw req &0 {len(url)} &200 3 &0 0 &0 0"
    results = script(
        site.gateway,
        *(f"put 0 {url}", "put 200 GET"),
        *(f"{call} ^1 &300", f"{call} &300 ^3", f"{call} ^1 ^3", f"{call} &300 &304"),
        path="/two",
    )
    assert codes(results) == [3, 3, 3, 0]


def test_results_may_lie_on_each_other(site: Site) -> None:
    url = f"{site.target.url}/hello"
    lines = [f"put 0 {url}", "put 100 GET", f"raw req &0 {len(url)} &100 3 &0 0 &0 0 &0 &0", "peek 0 4", "use 0"]
    results = script(site.gateway, *lines, "read 5")
    assert results == [["raw", "0"], ["peek", "%00%00%00%00"], ["read", "0", "5", "hello"]]


def test_the_status_has_two_bytes(site: Site) -> None:
    url = f"{site.target.url}/status/503"
    lines = [f"put 0 {url}", "put 100 GET", "put 200 abcd", f"raw req &0 {len(url)} &100 3 &0 0 &0 0 &200 &300"]
    assert script(site.gateway, *lines, "peek 200 4") == [["raw", "0"], ["peek", "%F7%01cd"]]


# Handles


def test_no_response_may_be_open_where_none_is_allowed(site: Site) -> None:
    assert codes(script(site.gateway, f"req GET {site.target.url}/hello", path="/none")) == [13]


def test_a_handle_in_the_way_of_the_cursor_is_passed_over(site: Site) -> None:
    req = f"req GET {site.target.url}/hello"
    lines = [req, req, "use 0", "close", req, "use 1", "close", "use 2", "close", req]
    results = script(site.gateway, *lines)
    assert [int(words[3]) for words in results if words[0] == "req"] == [0, 1, 2, 2]


def test_a_failed_call_leaves_no_handle(site: Site) -> None:
    lines = [f"req GET {site.closed}/", f"req GET {site.denied.url}/", f"req GET {site.target.url}/hello"]
    assert script(site.gateway, *lines, *lines, path="/two") == [
        ["req", "11", "0", "0"],
        ["req", "7", "0", "0"],
        ["req", "0", "200", "0"],
        ["req", "11", "0", "0"],
        ["req", "7", "0", "0"],
        ["req", "0", "200", "1"],
    ]


def test_handles_belong_to_one_request(site: Site) -> None:
    script(site.gateway, f"req GET {site.target.url}/hello")
    assert codes(script(site.gateway, "read 5", "get content-type 100", "close")) == [1, 1, 0]


def test_a_handle_counts_before_the_name_of_a_header(site: Site) -> None:
    giant = "&0 0xffffffff &100 10 &200"
    lines = [f"raw header_get 0 {giant}", f"req GET {site.target.url}/hello", f"raw header_get 0 {giant}"]
    assert codes(script(site.gateway, *lines)) == [1, 0, 4]


# Modules


CALLS = {
    "req": "(call $req (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)"
    " (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16))",
    "close": "(call $close (i32.const 0))",
    "header_get": "(call $header_get (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 9)"
    " (i32.const 16))",
    "headers_get_all": "(call $headers_get_all (i32.const 0) (i32.const 8) (i32.const 9) (i32.const 16))",
    "body_read": "(call $body_read (i32.const 0) (i32.const 8) (i32.const 9) (i32.const 16))",
}
IMPORTS = "".join(
    f'(import "wasi_experimental_http" "{name}" (func ${name} (param {" ".join(["i32"] * count)}) (result i32)))'
    for name, count in (("req", 10), ("close", 1), ("header_get", 6), ("headers_get_all", 4), ("body_read", 4))
)


@pytest.mark.parametrize("memory", ["", '(memory (export "mem") 1)'], ids=["none", "other-name"])
@pytest.mark.parametrize("allowed", ["", 'allowed_hosts = ["localhost"]\n'], ids=["unlisted", "listed"])
def test_a_module_without_a_memory_of_that_name(serve: Serve, memory: str, allowed: str) -> None:
    # The guest cannot print: it reaches `unreachable` if each function returns 2, and else divides by 0.
    checks = "".join(
        f"(if (i32.ne {call} (i32.const 2)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))"
        for call in CALLS.values()
    )
    guest = f'(module {IMPORTS} {memory} (func (export "_start") {checks} unreachable))'
    server = serve(module("/", "guest.wat", allowed), guest=guest)
    assert server.get("/").status_code == 500
    server.wait_for_log(r"500: trap: .*unreachable")


def test_a_guest_at_start_up_makes_no_call(serve: Serve) -> None:
    with Target() as target:
        url = f"{target.url}/hello".encode()
        guest = f"""(module {guests.FD_WRITE} {REQ} (memory (export "memory") 1)
         (data (i32.const 1024) "/code0 _start\\n") (data (i32.const 2048) {guests.wat_string(url)})
         (data (i32.const 4096) "GET") (data (i32.const 512) {guests.wat_string(guests.CONTENT_TYPE)})
         {guests.WRITE}
         (func (export "_routes")
          (i32.store8 (i32.const 1029) (i32.add (i32.const 48)
           (call $req (i32.const 2048) (i32.const {len(url)}) (i32.const 4096) (i32.const 3) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16))))
          (call $write (i32.const 1) (i32.const 1024) (i32.const 14)))
         (func (export "_start") (call $write (i32.const 1) (i32.const 512) (i32.const {len(guests.CONTENT_TYPE)}))))"""
        server = serve(module("/...", "guest.wat", allowed_hosts=[target.url]), guest=guest)
        assert server.get("/code7").status_code == 200
        server.wait_for_log("GET /code7 .*route=/code7 ")
        assert target.connections() == 0


def test_no_module_uses_the_connections_of_another(site: Site) -> None:
    def call(path: str) -> None:
        assert codes(script(site.gateway, f"req GET {site.other.url}/hello", "drain 100", path=path)) == [0, 0]

    call("/caller")
    call("/stranger")
    before = site.other.connections()
    for path in ("/caller", "/stranger") * 3:
        call(path)
    assert site.other.connections() == before
    call("/two")
    assert site.other.connections() == before + 1


# Redirects


def redirects(target: Target, count: int) -> str:
    """A URL behind this many redirects."""
    return target.url + "/redirect?to=" * count + "/hello"


def test_ten_redirects_are_followed(site: Site) -> None:
    before = len(site.target.requests)
    assert script(site.gateway, f"req GET {redirects(site.target, 10)}", "read 5") == [
        ["req", "0", "200", "0"],
        ["read", "0", "5", "hello"],
    ]
    assert len(site.target.requests) - before == 11


def test_an_eleventh_redirect_is_not_followed(site: Site) -> None:
    before = len(site.target.requests)
    assert codes(script(site.gateway, f"req GET {redirects(site.target, 11)}")) == [11]
    assert len(site.target.requests) - before == 11


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "code"),
    [
        pytest.param("{denied}/hello", 7, id="denied"),
        pytest.param("//{denied_authority}/hello", 7, id="denied-without-scheme"),
        pytest.param("http://user@{denied_authority}/hello", 7, id="denied-with-user"),
        pytest.param("{target}@{denied_authority}/hello", 7, id="denied-behind-a-user"),
        pytest.param("http:\\\\{denied_authority}\\hello", 7, id="denied-with-backslashes"),
        pytest.param("/redirect?to={denied}/hello", 7, id="denied-at-the-second-hop"),
        pytest.param("https://{target_authority}/hello", 7, id="another-scheme"),
        pytest.param("ftp://{target_authority}/hello", 7, id="no-http"),
        pytest.param("http://127.0.0.1:99999/", 11, id="no-port"),
        pytest.param("mailto:a@example.com", 11, id="no-host"),
        pytest.param("file:///etc/passwd", 11, id="file"),
    ],
)
def test_every_hop_is_checked(site: Site, status: int, location: str, code: int) -> None:
    to = location.format(
        denied=site.denied.url,
        target=site.target.url,
        denied_authority=site.denied.url.removeprefix("http://"),
        target_authority=site.target.url.removeprefix("http://"),
    )
    before = site.target.connections(), len(site.target.requests)
    assert codes(script(site.gateway, f"req GET {site.target.url}/redirect?status={status}&to={to}")) == [code]
    assert site.denied.connections() == 0
    assert len(site.target.requests) > before[1]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        *((status, "POST", "GET") for status in (301, 302, 303)),
        *((status, "PUT", "PUT") for status in (301, 302)),
        *((303, method, "GET") for method in ("PUT", "DELETE", "PATCH")),
        *((status, "HEAD", "HEAD") for status in (301, 302, 303, 307, 308)),
        *((status, method, method) for status in (307, 308) for method in ("POST", "PUT", "GET", "DELETE")),
    ],
)
def test_methods_and_bodies_behind_a_redirect(site: Site, status: int, method: str, then: str) -> None:
    url = f"{site.target.url}/redirect?status={status}&to={site.other.url}/echo"
    fields = {"content-type": "text/x-test", "content-language": "la", "digest": "x", "x-mine": "1"}
    body = b"" if method in ("GET", "HEAD") else b"body"
    lines = [f"header {name}:{value}" for name, value in fields.items()]
    assert codes(script(site.gateway, *lines, b"body " + body, f"req {method} {url}")) == [0]
    first, second = last(site.target), last(site.other)
    assert (first.method, first.body, second.method) == (method, body, then)
    assert second.body == (body if then == method else b"")
    kept = fields if then == method else {"x-mine": "1"}
    assert {name: second.header(name) for name in fields} == {name: kept.get(name) for name in fields}
    assert second.header("content-length") == ("4" if then == method and body else None)


CREDENTIALS = ("header authorization:Bearer secret", "header cookie:session=secret", "header x-mine:kept")


def credentials(received: Received) -> tuple[str | None, str | None, str | None]:
    """The values of CREDENTIALS in a request."""
    return received.header("authorization"), received.header("cookie"), received.header("x-mine")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_with_their_origin(site: Site, status: int) -> None:
    here, there = site.target, site.other
    url = f"{here.url}/redirect?status={status}&to={here.url}/echo"
    assert codes(script(site.gateway, *CREDENTIALS, f"req GET {url}")) == [0]
    assert [credentials(request) for request in here.requests[-2:]] == [("Bearer secret", "session=secret", "kept")] * 2
    url = f"{here.url}/redirect?status={status}&to={there.url}/redirect?to={here.url}/echo"
    assert codes(script(site.gateway, *CREDENTIALS, f"req GET {url}")) == [0]
    assert credentials(here.requests[-2]) == ("Bearer secret", "session=secret", "kept")
    assert credentials(last(there)) == (None, None, "kept")
    assert credentials(last(here)) == (None, None, "kept"), "back where they came from, but by another's wish"


def test_credentials_in_a_url_stay_with_their_origin(site: Site) -> None:
    authority = site.target.url.removeprefix("http://")
    assert codes(script(site.gateway, f"req GET http://a:b%40@{authority}/redirect?to={site.other.url}/echo")) == [0]
    assert last(site.target).header("authorization") == "Basic YTpiQA=="
    assert last(site.target).target.startswith("/redirect")
    assert last(site.other).header("authorization") is None


def test_a_redirect_without_location_is_an_answer(site: Site) -> None:
    assert script(site.gateway, f"req GET {site.target.url}/status/302")[0][:3] == ["req", "0", "302"]


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_statuses_are_not_followed(site: Site, status: int) -> None:
    url = f"{site.target.url}/redirect?status={status}&to={site.other.url}/hello"
    before = len(site.other.requests)
    assert script(site.gateway, f"req GET {url}")[0][:3] == ["req", "0", str(status)]
    assert len(site.other.requests) == before


def test_a_url_behind_a_redirect_keeps_its_query_and_loses_its_fragment(site: Site) -> None:
    assert codes(script(site.gateway, f"req GET {site.target.url}/redirect?to=/echo?a=%2541%23x#y")) == [0]
    assert last(site.target).target == "/echo?a=%41"


# Received requests

GATEWAYS = (
    ("host", "evil.example"),
    ("content-length", "100"),
    ("transfer-encoding", "chunked"),
    ("connection", "x-mine"),
    ("keep-alive", "timeout=1"),
    ("proxy-connection", "close"),
    ("proxy-authorization", "Basic eDp5"),
    ("te", "trailers"),
    ("trailer", "x"),
    ("upgrade", "websocket"),
    ("expect", "100-continue"),
    ("proxy", "http://evil.example"),
    ("proxy-foo", "x"),
    ("proxy_foo", "x"),
    ("transfer_encoding", "chunked"),
    ("content_length", "100"),
)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
def test_fields_that_are_the_gateways_to_set(site: Site, method: str, spelling: type[str]) -> None:
    lines = [f"header {spelling(name)}:{value}" for name, value in GATEWAYS]
    lines += ["header x-mine:1", "body " + "abc" * (method == "POST"), f"req {method} {site.target.url}/echo", "read 9"]
    assert script(site.gateway, *lines)[0] == ["req", "0", "200", "0"]
    received = last(site.target)
    length = (("content-length", "3"),) if method == "POST" else ()
    own = (("host", site.target.url.removeprefix("http://")), ("accept", "*/*"), ("user-agent", "wagi-gateway"))
    assert sorted(received.headers) == sorted((*own, ("x-mine", "1"), *length))
    assert received.body == (b"abc" if method == "POST" else b"")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("host :evil.example", id="blank-before-colon"),
        pytest.param(" host:evil.example", id="blank-first"),
        pytest.param("x:1\rhost:evil.example", id="bare-cr"),
        pytest.param("x:1\x0bhost:evil.example", id="vt"),
        pytest.param("x:1\u2028host:evil.example", id="line-separator"),
        pytest.param("x:caf\u00e9", id="not-ascii"),
    ],
)
def test_no_field_is_smuggled_in(site: Site, line: str) -> None:
    before = len(site.target.requests)
    assert codes(script(site.gateway, f"header {line}", f"req GET {site.target.url}/echo")) == [9]
    assert len(site.target.requests) == before


@pytest.mark.parametrize("method", ["GET /x HTTP/1.1", "GET\tx", "CONNECT", "connect", "G\u00c9T", "X" * 65])
def test_no_request_is_smuggled_into_the_method(site: Site, method: str) -> None:
    url = f"{site.target.url}/hello"
    size = len(method.encode())
    lines = [f"put 0 {url}", f"put 200 {method}", f"raw req &0 {len(url)} &200 {size} &0 0 &0 0 &300 &304"]
    before = len(site.target.requests)
    assert codes(script(site.gateway, *lines)) == [8]
    assert len(site.target.requests) == before


def test_no_request_is_smuggled_into_the_url(site: Site) -> None:
    assert codes(script(site.gateway, f"req GET {site.target.url}/a b\r\tc\u00e9?d e\u00e9#f")) == [0]
    assert last(site.target).target == "/a%20bc%C3%A9?d%20e%C3%A9"


def test_an_agent_of_its_own(site: Site) -> None:
    lines = ["header User-Agent:mine", "header ACCEPT: text/x", f"req GET {site.target.url}/echo"]
    assert codes(script(site.gateway, *lines)) == [0]
    assert (last(site.target).header("user-agent"), last(site.target).header("accept")) == ("mine", "text/x")


def test_no_cookie_is_kept(site: Site) -> None:
    req = f"req GET {site.target.url}/headers?set-cookie=a=1"
    assert codes(script(site.gateway, req, req)) == [0, 0]
    assert codes(script(site.gateway, req)) == [0]
    assert [request.header("cookie") for request in site.target.requests[-3:]] == [None] * 3


def test_the_gateways_own_proxies_and_passwords_are_not_used(site: Site) -> None:
    assert codes(script(site.gateway, f"req GET {site.target.url}/redirect?to={site.other.url}/echo")) == [0]
    assert last(site.target).header("authorization") is None
    assert last(site.other).header("authorization") is None
    assert site.trap.connections() == 0


def test_a_url_is_read_as_it_is_used(site: Site) -> None:
    port = site.target.port
    before = len(site.target.requests)
    urls = [f"http://0x7f.1:{port}/a", f"HTTP://127.1:{port}/a", f"http://[::ffff:127.0.0.1]:{port}/a"]
    urls += [f"http:\\\\2130706433:{port}\\a", f"http://127.0.0.1.:{port}/x/../a"]
    assert codes(script(site.gateway, *(f"req GET {url}" for url in urls))) == [0] * 5
    seen = [(request.header("host"), request.target) for request in site.target.requests[before:]]
    assert seen == [(f"127.0.0.1:{port}", "/a")] * 5
