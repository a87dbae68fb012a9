"""`traceparent` and `tracestate` (W3C Trace Context 3.2 and 3.3); most cases are those of the W3C's test suite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.request_head import REQUEST
from wagi_gateway.cgi.environ import build_environ
from wagi_gateway.cgi.request import find_authority
from wagi_gateway.cgi.trace import MAX_STATE, TraceContext, find_trace
from wagi_gateway.router import RoutePattern, Router

IDS = b"12345678901234567890123456789012-1234567890123456"
PARENT = b"00-" + IDS + b"-01"


@pytest.mark.parametrize(
    ("values", "parent"),
    [
        ([PARENT], PARENT),
        ([b"00-" + IDS + b"-00"], b"00-" + IDS + b"-00"),
        ([b"00-" + IDS + b"-ff"], b"00-" + IDS + b"-ff"),
        ([b"cc-" + IDS + b"-01"], PARENT),
        ([b"cc-" + IDS + b"-fe-what-the-future-will-be-like"], b"00-" + IDS + b"-00"),
        ([b"cc-" + IDS + b"-01.what-the-future-will-be-like"], None),
        ([b"00-" + IDS + b"-01-what-the-future-will-be-like"], None),
        ([b"00-" + IDS + b"-01-"], None),
        ([b"00-" + IDS + b"-01."], None),
        ([b"ff-" + IDS + b"-01"], None),
        ([b".0-" + IDS + b"-01"], None),
        ([b"000-" + IDS + b"-01"], None),
        ([b"0-" + IDS + b"-01"], None),
        ([b"00-" + b"0" * 32 + b"-1234567890123456-01"], None),
        ([b"00-12345678901234567890123456789012-" + b"0" * 16 + b"-01"], None),
        ([b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-01"], b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-01"),
        ([b"00-1234567890123456789012345678901A-1234567890123456-01"], None),
        ([b"00-1234567890123456789012345678901-1234567890123456-01"], None),
        ([b"00-123456789012345678901234567890123-1234567890123456-01"], None),
        ([b"00-" + IDS[:-1] + b"-01"], None),
        ([b"00-" + IDS + b"7-01"], None),
        ([b"00-" + IDS + b"-.0"], None),
        ([b"00-" + IDS + b"-001"], None),
        ([b"00-" + IDS + b"-1"], None),
        ([PARENT + b"\n"], None),
        ([PARENT, PARENT], None),
        ([PARENT + b", " + PARENT], None),
        ([b""], None),
        ([], None),
    ],
)
def test_traceparent(values: list[bytes], parent: bytes | None) -> None:
    found = TraceContext.parse(values, [b"foo=1"])
    assert found == (TraceContext(parent, b"foo=1") if parent else None)


KEY = b"a" * 256
TENANT = b"1" + b"t" * 240 + b"@" + b"v" * 14
HALF = b"a=" + b"v" * (MAX_STATE // 2 - 2)
MEMBERS = [b"bar%02d=%02d" % (number, number) for number in range(1, 34)]


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([], b""),
        ([b""], b""),
        ([b"foo=1,bar=2"], b"foo=1,bar=2"),
        ([b"foo=1", b"bar=2"], b"foo=1,bar=2"),
        ([b"foo=1 \t , \t bar=2, ,"], b"foo=1,bar=2"),
        ([b"foo=1,foo=2"], b"foo=1,foo=2"),
        ([b"foo= 1 "], b"foo= 1"),
        ([b"foo=" + bytes(range(0x21, 0x2C)) + b"-./:;<>?@~"], b"foo=" + bytes(range(0x21, 0x2C)) + b"-./:;<>?@~"),
        ([KEY + b"=1"], KEY + b"=1"),
        ([KEY + b"a=1"], b""),
        ([TENANT + b"=1"], TENANT + b"=1"),
        ([TENANT + b"v=1"], b""),
        ([b"k=" + b"v" * 256], b"k=" + b"v" * 256),
        ([b"k=" + b"v" * 257], b""),
        ([b",".join(MEMBERS[:32])], b",".join(MEMBERS[:32])),
        ([b",".join(MEMBERS)], b""),
        ([HALF, HALF[:-1]], HALF + b"," + HALF[:-1]),
        ([HALF, HALF], b""),
        ([b"foo=1,bar"], b""),
        ([b"foo"], b""),
        ([b"foo=1=2"], b""),
        ([b"foo="], b""),
        ([b"=1"], b""),
        ([b"foo =1"], b""),
        ([b"FOO=1"], b""),
        ([b"foo.bar=1"], b""),
        ([b"1foo=1"], b""),
        ([b"foo@=1"], b""),
        ([b"@foo=1"], b""),
        ([b"a@b@c=1"], b""),
        ([b"foo=\xe9"], b""),
    ],
)
def test_tracestate(values: list[bytes], state: bytes) -> None:
    assert TraceContext.parse([PARENT], values) == TraceContext(PARENT, state)


@pytest.mark.parametrize(
    ("headers", "variables"),
    [
        ([(b"traceparent", PARENT)], {b"HTTP_TRACEPARENT": PARENT}),
        (
            [(b"traceparent", PARENT), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
            {b"HTTP_TRACEPARENT": PARENT, b"HTTP_TRACESTATE": b"a=1,b=2"},
        ),
        ([(b"traceparent", PARENT), (b"tracestate", b"nonsense")], {b"HTTP_TRACEPARENT": PARENT}),
        ([(b"traceparent", b"nonsense"), (b"tracestate", b"a=1")], {}),
        ([(b"tracestate", b"a=1")], {}),
        ([], {}),
    ],
)
def test_a_guest_sees_what_is_valid(headers: list[tuple[bytes, bytes]], variables: dict[bytes, bytes]) -> None:
    request = replace(REQUEST, headers=REQUEST.headers + tuple(headers))
    match = Router([(RoutePattern("/e/..."), None)]).match(request.raw_path)
    assert match
    trace = find_trace(request)
    environ = build_environ(
        request, match, authority=find_authority(request), operator={}, trace=trace.environ if trace else {}
    )
    assert {name: value for name, value in environ.items() if name.startswith(b"HTTP_TRACE")} == variables
