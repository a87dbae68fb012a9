"""Any bytes at all, at a real server: no 5xx, no crash, and no variable that a client may not set."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT, Server
from tests.support.config import config, module
from tests.system.wire.conftest import serving
from wagi_gateway.cgi.environ import META_VARIABLES

MODULE = module("/...", ROOT / "samples/c/env.wasm", argv="env")


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    text = config(MODULE, cache={"directory": str(tmp_path_factory.mktemp("cache"))})
    with serving(request.param, tmp_path_factory.mktemp("fuzz"), text) as server:
        yield server
        assert server.process.poll() is None
        assert "Traceback" not in server.log


_FIELDS = st.lists(
    st.one_of(
        st.sampled_from(
            b"Proxy: evil|X_Forwarded_For: evil|X-Forwarded-For: evil|Authorization: evil|Transfer-Encoding: chunked"
            b"|Content-Length: 3|Content-Length: 4|Host: evil|Connection: close, X-A|Expect: 100-continue|Upgrade: h2c"
            b"|Content-Length: 0000000000000000000003|Path-Info: evil|Content-Type: a/b|Remote-Addr: evil| folded"
            b"|Http-Proxy: evil|X: \xff|X: \x00".split(b"|")
        ),
        st.tuples(st.binary(max_size=12), st.binary(max_size=30)).map(lambda pair: pair[0] + b": " + pair[1]),
    ),
    max_size=6,
)
_TARGET = st.one_of(
    st.sampled_from(b"/ /a/../b /%2e%2e /%00 * //h/x http://h/x?y /a%2Fb ?x /?-s /%ff".split()),
    st.binary(min_size=1, max_size=40).map(lambda tail: b"/" + tail),
)


@given(
    method=st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"X\x00"]),
    target=_TARGET,
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9"]),
    fields=_FIELDS,
    rest=st.one_of(st.just(b""), st.just(b"3\r\nabc\r\n0\r\n\r\n"), st.binary(max_size=60)),
)
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_any_request(
    server: Server, method: bytes, target: bytes, version: bytes, fields: list[bytes], rest: bytes
) -> None:
    lines = [b" ".join((method, target, version)), b"Host: h", *fields, b"Connection: close"]
    answer = _exchange(server, b"\r\n".join(lines) + b"\r\n\r\n" + rest)
    for status in re.findall(rb"^HTTP/1\.1 (\d+)", answer):
        assert int(status) < 500
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        body = re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body)
    if head.startswith(b"HTTP/1.1 200") and b"GATEWAY_INTERFACE" in body:
        _check_environment(body)


@given(st.binary(max_size=200))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_any_bytes(server: Server, data: bytes) -> None:
    assert not re.search(rb"^HTTP/1\.1 5", _exchange(server, data + b"\r\n\r\n"))


def _exchange(server: Server, request: bytes) -> bytes:
    """Sends bytes and then nothing more, possibly half a request; returns the response, if any."""
    with server.connect() as connection:
        connection.sendall(request)
        connection.settimeout(0.5)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
                if b"stdin: " in answer:
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def _check_environment(body: bytes) -> None:
    pairs = re.findall(rb"^([A-Z][A-Z0-9_]*)=(.*)$", body, re.MULTILINE)
    names = [name.decode() for name, _ in pairs]
    variables = dict(pairs)
    assert len(names) == len(set(names))
    assert not [name for name in names if name not in META_VARIABLES and not name.startswith("HTTP_")]
    assert not {"HTTP_PROXY", "HTTP_AUTHORIZATION", "HTTP_CONTENT_LENGTH", "HTTP_CONNECTION"}.intersection(names)
    assert variables[b"REMOTE_ADDR"] == b"127.0.0.1"
    assert variables[b"GATEWAY_INTERFACE"] == b"CGI/1.1"
