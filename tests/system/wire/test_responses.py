"""docs/spec/cgi.md A5, A6: a guest's output becomes a response, or a 502 whose reason is in the log."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from tests.conftest import Server
from tests.support import guests

from ...support.env_guest import CT, repeats, scatters, trickles
from ...support.http_client import Answer, assert_logged, connected, exchange, message
from .conftest import Route

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Response:
    """A row: the guest's output, the response, and a regular expression for the log."""

    id: str
    output: bytes
    status: int
    body: bytes | None = None
    headers: tuple[tuple[str, list[bytes]], ...] = ()
    log: str = ""
    wat: str = ""
    options: str = ""

    @property
    def path(self) -> str:
        return "/r/" + re.sub(r"\W+", "-", self.id)

    @property
    def route(self) -> Route:
        return Route(self.path, self.wat or guests.says(self.output), self.options)


def good(id_: str, output: bytes, body: bytes = b"hi", status: int = 200, **headers: list[bytes]) -> Response:
    """A row whose output is delivered; `x_a=[b"1"]` stands for the lines of X-A."""
    return Response(id_, output, status, body, tuple((name.replace("_", "-"), v) for name, v in headers.items()))


def bad(id_: str, output: bytes, log: str) -> Response:
    """A row whose output is answered with 502, and nothing of it reaches the client."""
    return Response(id_, output, 502, log=log)


HI = CT + b"\nhi"
XA = CT + b"X-A: a%sb\n\nhi"
COOKIES = [b"a=1; Path=/", b"b=2", b"c=3, d"]
LINKS = [b"</a>; rel=x", b"</b>; rel=y"]
HOP_BY_HOP = (
    b"Connection: keep-alive, X-Q\nKeep-Alive: 1\nUpgrade: h2c\nProxy-Connection: a\nTrailer: X-T\nTE: trailers\n"
)
DISGUISED = b"Proxy-Authenticate: a\nProxy-Authorization: b\n"
ORDERS = b"X-Accel-Redirect: /internal/secret\nX-Sendfile: /etc/passwd\nX-LIGHTTPD-send-file: /etc/passwd\n"
MORE_ORDERS = (
    b"X-LiteSpeed-Location: /internal/secret\nX-REPROXY-URL: http://10.0.0.1/\nX-Envoy-Immediate-Health-Check-Fail: 1\n"
    b"Fly-Replay: app=other\nX-Archive-Files: zip\nGrip-Hold: stream\n"
)
ENDLESS_BLOCK = guests.says(CT * 1000, repeat="(call $write (i32.const 1) (i32.const 1024) (i32.const 25000))")
LONG_COOKIE = b"s=" + b"c" * 3070

ROWS = [
    good("R01-lf", HI),
    good("R01-crlf", b"Content-Type: text/plain\r\n\r\nhi", content_type=[b"text/plain"]),
    good("R01-mixed", CT + b"X-A: 1\r\n\r\nhi", x_a=[b"1"]),
    good("R01-first-empty-line", CT + b"\n\r\n\nhi", b"\r\n\nhi"),
    good("R01-crlf-body", b"Content-Type: text/plain\r\n\r\n\r\n\n\r\nhi", b"\r\n\n\r\nhi"),
    Response("R03-bytes", b"", 200, b"hi", (("x-a", [b"1"]),), wat=trickles(CT + b"X-A: 1\r\n\r\nhi")),
    Response("R03-lf-bytes", b"", 200, b"hi", wat=trickles(HI)),
    Response("R03-iovec", b"", 200, b"hi", (("x-a", [b"1"]),), wat=scatters(CT + b"X-A: ", b"1\r\n\r", b"\nhi")),
    Response("R03-bad-bytes", b"", 502, wat=trickles(b"Status: 30\n\nhi"), log="Status"),
    good("R04", b"Status: 404 Nope\n" + CT + b"\nx", b"x", 404),
    good("R04-lower-case", b"status:404\n" + CT + b"\nx", b"x", 404),
    good("R05", b"Status: 404\n\n", b"", 404, content_type=[]),
    good("R05-body", b"Status: 201\n\nx", b"x", 201, content_type=[]),
    *(
        bad(f"R06-{status.decode()}", b"Status: " + status + b"\n" + CT + b"\nx", "Status")
        for status in (b"abc", b"30", b"0200", b"2000", b"99", b"600", b"-20", b"20 0", b"100", b"101", b"2OO", b"+200")
    ),
    good("R08-204", b"Status: 204\n" + CT + b"\nbody", b"", 204),
    good("R08-304", b"Status: 304\n" + CT + b"\nbody", b"", 304),
    good("R08-204-length", b"Status: 204\nContent-Length: 4\n\nbody", b"", 204, content_length=[]),
    good("R09", b"Status: 205\n" + CT + b"\nbody", b"", 205, content_length=[b"0"], transfer_encoding=[]),
    good("R10", b"Location: http://a.example/p#f\n\n", b"", 302, location=[b"http://a.example/p#f"]),
    good("T02-body", b"Location: http://a.example/\n" + CT + b"\nhi", b"hi", 302),
    good("T03-303", b"Location: /x\nStatus: 303\n\n", b"", 303, location=[b"/x"]),
    good("T03-201", b"Status: 201\nLocation: http://a.example/\n" + CT + b"\nhi", b"hi", 201),
    good("T03-200", b"Location: http://a.example/\nStatus: 200\n" + CT + b"\nhi", b"hi", 200),
    good("R15", b"Location: /x\nSet-Cookie: s=1\n\n", b"", 302, location=[b"/x"], set_cookie=[b"s=1"]),
    good("R15-fragment", b"Location: /x#f\n\n", b"", 302, location=[b"/x#f"]),
    good("R16-location", b"Location:\n" + HI, location=[]),
    good("R16-status", b"Status: \t\n" + HI),
    good(
        "R17",
        CT
        + b"".join(b"Set-Cookie: %s\n" % cookie for cookie in COOKIES)
        + b"".join(b"Link: %s\n" % link for link in LINKS)
        + b"\nhi",
        set_cookie=COOKIES,
        link=LINKS,
    ),
    bad("R19-blank", b"Content-Type : text/plain\n\nhi", "field name"),
    bad("R19-blank-inside", CT + b"X A: 1\n\nhi", "field name"),
    bad("R19-no-name", CT + b": v\n\nhi", "field name"),
    bad("R19-bom", b"\xef\xbb\xbf" + HI, "field name"),
    bad("R19-parenthesis", CT + b"X(: 1\n\nhi", "field name"),
    bad("R19-nul", CT + b"X\0A: 1\n\nhi", "field name"),
    bad("R20-bare-cr", CT + b"X-A: a\rSet-Cookie: e=1\n\nhi", "control character"),
    bad("R20-crcrlf", CT + b"X-A: a\r\r\n\nhi", "control character"),
    bad("R20-nul", XA % b"\0", "control character"),
    bad("R20-esc", XA % b"\x1b", "control character"),
    bad("R20-del", XA % b"\x7f", "control character"),
    bad("H06-folded", CT + b"X-A: a\n b\n\nhi", r"field name|no colon|fold"),
    bad("H06-folded-field", CT + b"X-A: a\n Set-Cookie: e=1\n\nhi", r"field name|no colon|fold"),
    bad("R21-between", CT + b"no header\nX-A: 1\n\nhi", "no colon"),
    bad("R21-hello", b"Hello world\n", "ended before the empty line|no colon"),
    bad("R21-hello-block", b"Hello world\n\nhi", "no colon"),
    bad("R21-nph", b"HTTP/1.1 200 OK\n" + HI, "NPH"),
    bad("R22-line", CT, "ended before the empty line"),
    bad("R22-no-line", CT[:-1], "ended before the empty line"),
    bad("R22-leading", b"\nHello", "begins with an empty line"),
    bad("R22-nothing", b"", "printed nothing"),
    bad("R22-empty-lines", b"\n\n", "begins with an empty line"),
    good("R23", CT + b"\n", b"", content_length=[b"0"]),
    bad("R24", b"X-A: 1\n\n<html>", "Content-Type"),
    Response("R25-short", CT + b"Content-Length: 2\n\n123456", 200, b"123456", log="(?i)content-length.*2"),
    Response("R25-long", CT + b"Content-Length: 20\n\n123", 200, b"123", log="(?i)content-length.*20"),
    *(
        good(f"R26-{number}", CT + b"Content-Length: " + value + b"\n\nabc", b"abc")
        for number, value in {
            "plus": b"+3",
            "minus": b"-1",
            "list": b"3, 3",
            "word": b"abc",
            "two": b"3\nContent-Length: 4",
            "underscore": b"1_0",
            "huge": b"9" * 30,
        }.items()
    ),
    bad("R27", CT + b"Transfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding"),
    bad("R27-both", CT + b"Content-Length: 3\nTransfer-Encoding: chunked\n\nabc", "Transfer-Encoding"),
    good("R28", CT + HOP_BY_HOP + DISGUISED + b"\nhi", b"hi", connection=[], keep_alive=[], upgrade=[], te=[]),
    good("R30", CT + b"Date: x\nServer: evil\n\nhi"),
    bad("R31-content-type", CT + b"content-type: text/html\n\nhi", "two differing"),
    bad("R31-status", b"Status: 200\nStatus: 404\n\nhi", "two differing"),
    bad("R31-location", b"Location: http://a.example/\nLocation: http://b.example/\n\n", "two differing"),
    good("R32", CT + b"X-A: \xe9 \n\n\xe9\xff\0\r\n", b"\xe9\xff\0\r\n", x_a=[b"\xe9"]),
    good("R33-cookie", CT + b"Set-Cookie: " + LONG_COOKIE + b"\n\nhi", set_cookie=[LONG_COOKIE]),
    bad("R33-line", CT + b"X-A: " + b"a" * MIB + b"\n\nhi", "header block is longer"),
    bad("R33-many", CT + b"X-A: 0123456789\n" * 4480 + b"\nhi", "header block is longer"),
    good("R37", CT + b"a:b\n" * 255 + b"\nhi", a=[b"b"] * 255),
    bad("R37-one-more", CT + b"a:b\n" * 256 + b"\nhi", "has 257 lines, more than 256"),
    bad("R37-many", CT + b"a:b\n" * 16_000 + b"\nhi", "has 16001 lines, more than 256"),
    bad("R37-void", CT + b"a:\n" * 20_000 + b"\nhi", "has 20001 lines, more than 256"),
    Response("R33-endless", b"", 502, log="header block is longer", wat=ENDLESS_BLOCK),
    good("H12", CT + ORDERS + b"\nhi", x_accel_redirect=[], x_sendfile=[], x_lighttpd_send_file=[]),
    good(
        "H12-more",
        CT + MORE_ORDERS + b"\nhi",
        x_litespeed_location=[],
        x_reproxy_url=[],
        x_envoy_immediate_health_check_fail=[],
        fly_replay=[],
        x_archive_files=[],
        grip_hold=[],
    ),
    Response(
        "H12-allowed",
        CT + ORDERS + b"\nhi",
        200,
        b"hi",
        (("x-accel-redirect", [b"/internal/secret"]), ("x-sendfile", [b"/etc/passwd"])),
        options="front_end_headers = true",
    ),
    Response("L02", b"", 200, b"hi", wat=guests.exits(3, HI), log="exit.* 3"),
    Response("L02-strict", b"", 500, wat=guests.exits(3, HI), log="exit.* 3", options="strict_exit = true"),
    Response("L02-strict-zero", b"", 200, b"hi", wat=guests.exits(0, HI), options="strict_exit = true"),
    Response("L03", b"", 500, wat=guests.exits(3), log="exit.* 3"),
    Response("L03-after-a-line", b"", 500, wat=guests.exits(3, CT), log="exit.* 3"),
    Response("L01-nothing", b"", 502, wat=guests.exits(0), log="printed nothing"),
    Response("L01", b"", 200, b"hi", wat=guests.exits(0, HI)),
    Response("L04", b"", 500, wat=guests.TRAP, log="unreachable"),
    Response("L05-buffered", b"", 500, wat=guests.says(CT + b"\n0123456789", then="unreachable"), log="unreachable"),
]

COPIES_512 = repeats(512, bytes(range(256)) * 256, before=CT + b"\n")
HEADS = (
    ("R35", CT + b"Content-Length: 6\n\nsix by", b"6"),
    ("R35-no-length", CT + b"\nsix by", b"6"),
    ("R35-wrong-length", CT + b"Content-Length: 9\n\nsix by", b"6"),
)
ROUTES = (
    *(row.route for row in ROWS),
    *(Route(f"/r/{name}", guests.says(output)) for name, output, _ in HEADS),
    Route("/r/R34", COPIES_512),
)

OF_THE_GATEWAY = set(b"date server content-type content-length x-request-id connection retry-after".split())


def assert_date_and_server(answer: Answer) -> None:
    date, server = answer.value("date"), answer.value("server")
    assert date
    assert server
    assert parsedate_to_datetime(date.decode())
    assert b"evil" not in server


def assert_silent(answer: Answer) -> None:
    """Fails unless the response is the gateway's own: short, plain, without a detail of the guest or the host."""
    assert not {name for name, _ in answer.headers} - OF_THE_GATEWAY
    assert answer.is_complete
    assert len(answer.body) < 100
    assert (answer.value("content-type") or b"").startswith(b"text/plain")
    for inside in (b"/", b"guest", b"wasm", b"wat", b"hi\n", b"html", b"Hello"):
        assert inside not in answer.body


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
def test_response(site: Server, row: Response) -> None:
    answer = exchange(site, message(f"GET {row.path} HTTP/1.1", "Host: h"))
    assert answer.status == row.status
    assert_date_and_server(answer)
    assert not answer.values("status")
    if row.status >= 500:
        assert_silent(answer)
    else:
        assert (answer.body, answer.is_complete) == (row.body, True)
    assert {name: answer.values(name) for name, _ in row.headers} == dict(row.headers)
    if row.log:
        assert_logged(site, answer, row.log)


# Every row for a client of HTTP/1.0, too: the same response, framed by its length or the connection's end.
@pytest.mark.parametrize("row", [pytest.param(row, id=f"T07-{row.id}") for row in ROWS])
def test_response_to_http_1_0(site: Server, row: Response) -> None:
    with connected(site.address) as connection:
        answer = connection.ask(message(f"GET {row.path} HTTP/1.0", "Host: h"))
        assert connection.ends()
    assert answer.status == row.status
    assert not answer.values("transfer-encoding")
    if row.status < 500:
        assert answer.body == row.body
    assert {name: answer.values(name) for name, _ in row.headers if name != "connection"} == {
        name: values for name, values in row.headers if name != "connection"
    }


@pytest.mark.parametrize(("name", "length"), [pytest.param(name, length, id=name) for name, _, length in HEADS])
def test_head(site: Server, name: str, length: bytes) -> None:
    with connected(site.address) as connection:
        for _ in range(2):
            answer = connection.ask(message(f"HEAD /r/{name} HTTP/1.1", "Host: h"))
            assert (answer.status, answer.body) == (200, b"")
            assert answer.value("content-length") in (None, length)
            assert answer.values("transfer-encoding") in ([], [b"chunked"])
        connection.check_next(answer)


def test_r34_large_body(site: Server) -> None:
    exchange(site, message("GET /r/R01-lf HTTP/1.1", "Host: h"))
    before = site.memory()
    answer = exchange(site, message("GET /r/R34 HTTP/1.1", "Host: h"))
    assert answer.is_complete
    assert len(answer.body) == 32 * MIB
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(bytes(range(256)) * 131072).digest()
    assert site.memory() - before < 16 * MIB


def test_r33_endless_header_block_is_cut_short(site: Server) -> None:
    before = site.memory()
    for _ in range(5):
        assert exchange(site, message("GET /r/R33-endless HTTP/1.1", "Host: h")).status == 502
    assert site.memory() - before < 16 * MIB
