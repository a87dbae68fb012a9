"""A guest's header block (RFC 3875 section 6; docs/spec/cgi.md A5)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.cgi import response
from wagi_gateway.cgi.environ import MAX_FIELDS
from wagi_gateway.cgi.response import FRONT_END, HeaderBlock, ResponseHead
from wagi_gateway.errors import BadOutput

CT = b"Content-Type: text/plain\n"


def parse(output: bytes, limit: int = 65536) -> tuple[ResponseHead, bytes]:
    """The head and body of a complete output."""
    block = HeaderBlock(limit)
    head = block.feed(output)
    if head is None:
        block.close()
        raise AssertionError("close() returned")
    return head, block.rest


@pytest.mark.parametrize(
    "output",
    [CT + b"\nhi", b"Content-Type: text/plain\r\n\r\nhi", b"content-TYPE:text/plain \n\r\nhi"],
    ids=["LF", "CRLF", "mixed"],
)
def test_line_endings(output: bytes) -> None:
    assert parse(output) == (ResponseHead(200, ((b"content-type", b"text/plain"),), None), b"hi")


@pytest.mark.parametrize("body", [b"", b"\n\n", b"\r\n\r\nx: y\n\n", bytes(range(256))])
def test_the_body_is_untouched(body: bytes) -> None:
    assert parse(CT + b"\n" + body)[1] == body


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (CT, 200),
        (b"Status: 404 Nope\n" + CT, 404),
        (b"status:404\n" + CT, 404),
        (b"Status: 404\n", 404),
        (b"Status: 201\n", 201),
        (b"Location: http://a.example/p#f\n", 302),
        (b"Location: http://a.example/\nStatus: 303\n", 303),
        (b"Status: 200\nLocation: http://a.example/\n", 200),
        (b"Location:\n" + CT, 200),
        (b"Status:\n" + CT, 200),
    ],
)
def test_status(block: bytes, status: int) -> None:
    assert parse(block + b"\n")[0].status == status


@pytest.mark.parametrize(
    "status", [b"abc", b"30", b"0200", b"2000", b"99", b"600", b"-20", b"20 0", b"100", b"2\xb200"]
)
def test_bad_status(status: bytes) -> None:
    with pytest.raises(BadOutput, match="Status"):
        parse(CT + b"Status: " + status + b"\n\n")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"", "printed nothing"),
        (CT, "before the empty line"),
        (b"Content-Type: a", "before the empty line"),
        (b"Content-Type", "the first line has no colon"),
        (b"\nHello", "begins with an empty line"),
        (b"\r\nHello", "begins with an empty line"),
        (b"\n\n", "begins with an empty line"),
        (b"Hello world\n\n", "no colon"),
        (CT + b"no colon here\nX-A: 1\n\n", "no colon"),
        (b"HTTP/1.1 200 OK\n" + CT + b"\n", "NPH"),
        (b"X-A: 1\n\n<html>", "none of Content-Type"),
        (b"Content-Type : text/plain\n\n", "not a field name"),
        (CT + b"X A: 1\n\n", "not a field name"),
        (CT + b": v\n\n", "not a field name"),
        (CT + b"X(: 1\n\n", "not a field name"),
        (b"\xef\xbb\xbf" + CT + b"\n", "not a field name"),
        (CT + b" folded: 1\n\n", "not a field name"),
        (CT + b"\tfolded\n\n", "no colon"),
        (CT + b"X-A: a\rSet-Cookie: e=1\n\n", "control character"),
        (CT + b"X-A: a\x00b\n\n", "control character"),
        (CT + b"X-A: \x1b[2J\n\n", "control character"),
        (CT + b"X-A: 1\r\r\n\n", "control character"),
        (CT + b"Transfer-Encoding: chunked\n\n", "Transfer-Encoding"),
        (CT + b"Content-Type: text/html\n\n", "two differing content-type"),
        (b"Status: 200\nStatus: 404\n\n", "two differing status"),
        (b"Location: /a\nLocation: /b\n\n", "two differing location"),
    ],
)
def test_violations(output: bytes, reason: str) -> None:
    with pytest.raises(BadOutput, match=reason):
        parse(output)


@pytest.mark.parametrize(
    ("output", "offset"),
    [
        (b"Hello, world\nthis is my page\n", 0),
        (b"\nHello", 0),
        (CT, len(CT)),
        (CT + b"X A: 1\n\nbody", len(CT) + 1),
        (CT + b"Content-Type: text/html\n\n", len(CT)),
        (CT + b"Transfer-Encoding: chunked\n\n", len(CT)),
        (CT + b"Status: abc\n\n", len(CT)),
        (b"X-A: 1\n\n<html>", 6),
        (CT + b"a:b\n" * MAX_FIELDS + b"\n", len(CT) + 4 * MAX_FIELDS - 4),
        (CT + b"X-Long: " + b"a" * 5000 + b"\n\n", 4096),
    ],
    ids="no header|empty line|cut off|name|differing|framing|status|no field of CGI|many lines|long".split("|"),
)
@pytest.mark.parametrize("step", [1, 9999], ids=["in pieces", "whole"])
def test_what_is_refused_is_kept_with_the_byte_that_is_wrong(output: bytes, offset: int, step: int) -> None:
    block = HeaderBlock(4096)

    def feed() -> None:
        for begin in range(0, len(output), step):
            block.feed(output[begin : begin + step])
        block.close()

    with pytest.raises(BadOutput) as error:
        feed()
    kept = error.value.output
    assert kept
    assert kept.offset == offset
    assert output.startswith(kept.beginning)
    assert len(kept.beginning) <= 512


def test_nothing_that_was_printed_is_not_kept() -> None:
    block = HeaderBlock(1024)
    assert block.incomplete is None
    with pytest.raises(BadOutput) as error:
        block.close()
    assert error.value.output is None


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (b"Content_Type: text/html\nX-Foo: 1", '"Content_Type", "X-Foo"'),
        (b"Content-Type:\r", '"Content-Type" without a value'),
        (b"\n".join(b"X-%d: 1" % number for number in range(10)), '"X-7" and 2 more'),
    ],
    ids=["other names", "no value", "many"],
)
def test_the_fields_that_are_there_are_named(block: bytes, names: str) -> None:
    with pytest.raises(BadOutput, match="none of Content-Type, Location and Status is there, only ") as error:
        parse(block + b"\n\n")
    assert str(error.value).endswith(names)


@pytest.mark.parametrize(
    "output",
    [CT + b"X-Long: " + b"a" * 2000 + b"\n\n", b"a" * 2000, (b"X-A: 1\n" * 300) + b"\n"],
    ids=["line", "no end", "many"],
)
def test_limit(output: bytes) -> None:
    with pytest.raises(BadOutput, match="longer than 1024"):
        parse(output, limit=1024)


def test_repeated_fields_are_kept_in_order() -> None:
    block = b"Set-Cookie: a=1\nLink: x\nSet-Cookie: b=2\nLink: y\nSet-Cookie: c=3\n"
    assert parse(CT + block + b"\n")[0].headers[1:] == (
        (b"set-cookie", b"a=1"),
        (b"link", b"x"),
        (b"set-cookie", b"b=2"),
        (b"link", b"y"),
        (b"set-cookie", b"c=3"),
    )


@pytest.mark.parametrize(
    "field", [b"a:b", b"a:", b"X-A: 1\r", b"Set-Cookie: a=1"], ids=["short", "void", "CRLF", "cookie"]
)
@pytest.mark.parametrize("excess", [0, 1])
def test_the_number_of_fields_is_bounded(field: bytes, excess: int) -> None:
    output = CT + (field + b"\n") * (MAX_FIELDS - 1 + excess) + b"\nhi"
    if excess:
        with pytest.raises(BadOutput, match=f"the header block has {MAX_FIELDS + 1} lines, more than {MAX_FIELDS}"):
            parse(output)
    else:
        assert parse(output)[1] == b"hi"


@pytest.mark.parametrize("line", [b"a:b\n", b"a:\n", b"\x00\n"], ids=["short", "void", "bad"])
def test_no_line_of_too_many_is_parsed(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(response, "parse_field_line", None)
    with pytest.raises(BadOutput, match="more than 256"):
        parse(CT + line * 16_000 + b"\nhi")


_ORDERS = (
    b"X-Accel-Redirect X-Accel-Buffering X-Accel-Limit-Rate X-Archive-Files X-Sendfile X-SENDFILE-TEMPORARY X-Sendfile2"
    b" X-Sendfile-Type X-LIGHTTPD-send-file X-LIGHTTPD-KBytes-per-second X-LiteSpeed-Location X-LiteSpeed-Purge"
    b" X-LiteSpeed-Cache-Control X-Reproxy-URL X-REPROXY-FILE X-REPROXY-EXPECTED-SIZE X-Envoy-Overloaded"
    b" X-Envoy-Immediate-Health-Check-Fail X-Envoy-Degraded Endpoint-Load-Metrics Endpoint-Load-Metrics-Bin"
    b" X-Endpoint-Load-Metrics Fly-Replay fly-replay-cache Grip-Hold Grip-Channel l5d-success-class l5d-retryable"
    b" X-AppEngine-BlobKey X-Hiawatha-Cache-Remove X-Kong-Limit"
).split()
_NOT_SENT = b"Connection Keep-Alive Proxy-Connection Proxy-Status TE Trailer Upgrade Date Server Status".split()


@pytest.mark.parametrize("name", [*_NOT_SENT, *_ORDERS], ids=bytes.decode)
def test_fields_a_guest_cannot_set(name: bytes) -> None:
    value = b"200" if name == b"Status" else b"x"
    assert parse(CT + name + b": " + value + b"\n\n")[0].headers == ((b"content-type", b"text/plain"),)


@pytest.mark.parametrize("name", _ORDERS, ids=bytes.decode)
def test_fields_a_guest_may_set_where_it_commands_the_front_end(name: bytes) -> None:
    head = HeaderBlock(65536, front_end_headers=True).feed(CT + name + b": x\n\n")
    assert head
    assert head.headers[1:] == ((name.lower(), b"x"),)


@pytest.mark.parametrize(
    "name",
    b"X-Accelerate X-Send X-Litespeed Fly-Request-Id Grip X-Powered-By X-Frame-Options Accel Surrogate-Control"
    b" CDN-Cache-Control X-Robots-Tag".split(),
    ids=bytes.decode,
)
def test_fields_that_only_look_like_orders(name: bytes) -> None:
    assert parse(CT + name + b": x\n\n")[0].headers[1:] == ((name.lower(), b"x"),)


def test_every_order_has_an_example() -> None:
    assert [prefix for prefix in FRONT_END if not any(name.lower().startswith(prefix) for name in _ORDERS)] == []


@pytest.mark.parametrize(
    ("block", "local", "location"),
    [
        (b"Location: /x?q=1", b"/x?q=1", b"/x?q=1"),
        (b"Location: /x\nX-A:", b"/x", b"/x"),
        (b"Location: //h/x", b"//h/x", b"/.//h/x"),
        (b"Location: //h/x\nSet-Cookie: a=1", None, b"/.//h/x"),
        (b"Location: /x#f", None, b"/x#f"),
        (b"Location: /x\nStatus: 303", None, b"/x"),
        (b"Location: http://h/x", None, b"http://h/x"),
    ],
)
def test_locations(block: bytes, local: bytes | None, location: bytes) -> None:
    head = parse(block + b"\n\n")[0]
    assert (head.local_redirect, dict(head.headers)[b"location"]) == (local, location)


def test_content_length_is_advice() -> None:
    head, _ = parse(CT + b"Content-Length: 2\n\n123456")
    assert (head.content_length, head.headers) == (b"2", ((b"content-type", b"text/plain"),))


def test_octets_pass() -> None:
    assert parse(CT + b"X-A: \xe9 \n\n")[0].headers[1] == (b"x-a", b"\xe9")


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_the_limit_is_the_same_for_every_split(end: bytes, excess: int) -> None:
    output = CT + b"X: "
    output += b"a" * (128 + excess - len(output)) + end + b"body"
    outcomes = {str(outcome(split(output, [cut]))) for cut in range(len(output))}
    assert len(outcomes) == 1
    assert ("longer than" in outcomes.pop()) == (excess > 0)


@given(st.binary(), st.lists(st.integers(min_value=0, max_value=200)))
def test_pieces_do_not_matter(output: bytes, cuts: list[int]) -> None:
    assert outcome([output]) == outcome(split(output, cuts))


@given(st.lists(st.sampled_from([b"\n", b"\r", b":", b" ", b"Status", b"200", b"Content-Type", b"a", b"\x00"])))
def test_any_block_is_a_response_or_refused(pieces: list[bytes]) -> None:
    result = outcome([b"".join(pieces)])
    if isinstance(result, tuple):
        for name, value in result[0].headers:
            assert not {*b"\r\n\0"}.intersection(name + value)
            assert name not in (b"transfer-encoding", b"content-length", b"connection")


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=20).map(str.encode)
_VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).map(str.encode)
_NOT_OURS = ("status", "location", "content-", "date", "server", "connection", "keep-alive", "te", "trailer", "upgrade")


def _is_passed_on(field: tuple[bytes, bytes]) -> bool:
    name = field[0].decode()
    orders = [prefix.decode() for prefix in FRONT_END]
    return not name.startswith((*_NOT_OURS, *orders, "transfer-encoding", "proxy-", "x-request-id"))


@given(
    st.integers(min_value=200, max_value=599),
    _VALUE,
    st.lists(st.tuples(_TOKEN, _VALUE).filter(_is_passed_on), max_size=10),
    st.sampled_from([b"\n", b"\r\n"]),
    st.binary(max_size=100),
)
def test_what_is_printed_is_parsed(
    status: int, content_type: bytes, fields: list[tuple[bytes, bytes]], end: bytes, body: bytes
) -> None:
    head = ResponseHead(status, ((b"content-type", content_type), *fields), None)
    lines = [b"Status: %d" % status, *(name + b": " + value for name, value in head.headers)]
    assert parse(end.join([*lines, b"", b""]) + body) == (head, body)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def outcome(pieces: list[bytes]) -> tuple[ResponseHead, bytes] | str:
    block = HeaderBlock(128)
    try:
        for number, piece in enumerate(pieces):
            if head := block.feed(piece):
                return head, block.rest + b"".join(pieces[number + 1 :])
        block.close()
    except BadOutput as error:
        return str(error)
    raise AssertionError("close() returned")
