"""Request heads for the tests of `cgi`."""

from __future__ import annotations

from wagi_gateway.cgi.request import RequestHead

HOST = (b"host", b"h:81")


REQUEST = RequestHead(
    method="GET",
    raw_path=b"/e/foo",
    query=b"a=b&c",
    http_version="1.1",
    scheme="http",
    headers=(HOST,),
    client=("192.0.2.7", 4711),
    server=("127.0.0.1", 3000),
    request_id="r1",
)
