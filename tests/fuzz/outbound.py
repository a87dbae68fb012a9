"""Targets: the URL, method and fields of a guest's outbound call, and the `Location` of a server's redirect."""

from __future__ import annotations

import re

from wagi_gateway.outbound.destination import Destination
from wagi_gateway.outbound.errors import DestinationNotAllowed, InvalidEncoding, InvalidMethod
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.outbound.request import Request, check_method, parse_fields

_HOST = re.compile(r"[^\x00-\x20\x7f-\U0010ffff/?#@\\\[\]A-Z:]+|[0-9a-f:]+")
_OURS = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te", b"upgrade", b"trailer"}

SEEDS = tuple(
    text.encode()
    for text in (
        "https://api.example.com\nGET\nhttps://api.example.com/a?b#c\n/d\nAccept: a\nX-A: b",
        "*.example.com\nPOST\nhttp://a.example.com:8080/\n//b.example.com\nHost: evil\nContent-Length: 3",
        "insecure:allow-all\nGET\nhttp://0x7f.1/\nhttp://[::ffff:169.254.169.254]/",
        "localhost:8080\nBREW\nHTTP://u:p@LOCALHOST:8080\\@evil/\nhttps://ex%61mple.com./\nTransfer_Encoding: chunked",
        "http://xn--bcher-kva.example\nget\nhttp://bücher.example/ü?ü\nftp://x/",
    )
)


def check(data: bytes) -> None:
    """Lines: an entry of `allowed_hosts`, a method, a URL, the target of its redirect, and header fields."""
    entry, method, url, location, fields = (data.decode("utf-8", "replace").split("\n", 4) + [""] * 4)[:5]
    try:
        policy = Policy([entry])
    except ValueError:
        policy = Policy(["insecure:allow-all"])
    try:
        request = Request(check_method(method), parse_fields(fields), b"x")
    except (InvalidMethod, InvalidEncoding):
        request = Request("GET", [(b"authorization", b"secret"), (b"cookie", b"secret")], b"")
    try:
        first = Destination.parse(url)
        check_destination(first, policy)
        check_request(request, first)
        second = Destination.parse(location, first)
    except ValueError:
        return
    check_destination(second, policy)
    again = request.redirected(307, first, second)
    check_request(again, second)
    if first.origin != second.origin:
        assert not {b"authorization", b"cookie"} & {name for name, _ in again.fields}


def check_destination(destination: Destination, policy: Policy) -> None:
    """A URL has one reading, and is permitted only by an entry."""
    assert re.fullmatch(rb"[\x21-\x7e]*", destination.target)
    assert 0 <= destination.port < 65536
    again = Destination.parse(destination.url)
    assert (again.origin, again.target) == (destination.origin, destination.target)
    try:
        public_only = policy.check(destination)
    except DestinationNotAllowed:
        return
    assert destination.scheme in ("http", "https")
    assert destination.target.startswith(b"/")
    assert _HOST.fullmatch(destination.host), destination.host
    (entry,) = policy.entries
    assert public_only != entry.is_exact
    if entry.is_exact:
        assert destination.host == entry.host
    elif address := destination.address:
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))
        assert not entry.host
    else:
        assert not entry.host or destination.host.endswith("." + entry.host)


def check_request(request: Request, destination: Destination) -> None:
    """No input of a guest sets the framing or the Host of the request."""
    assert re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}", request.method)
    assert not _OURS & {name.replace(b"_", b"-") for name, _ in request.fields}
    headers = request.headers(destination)
    names = [name for name, _ in headers]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") <= 1
    for name, value in headers:
        assert re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9a-z]+", name)
        assert re.fullmatch(rb"[\t\x20-\x7e]*", value), value
