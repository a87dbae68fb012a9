"""All parsers of untrusted input, as functions of bytes that raise nothing but AssertionError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import forwarded, modules, outbound, registry, request, response, wasi


@dataclass(frozen=True, slots=True)
class Target:
    """A function of any bytes, with its seeds and the inputs that have failed before."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    """The dictionary: likely parts of an input."""
    share: int
    """The target's share of all executions, in percent."""
    found: tuple[bytes, ...] = ()
    """Inputs that have failed before."""


_HTTP = (
    b"GET POST HEAD HTTP/1.1 HTTP/1.0 http:// Host: Content-Length: Transfer-Encoding: chunked Connection: close"
    b" keep-alive Upgrade: Expect: 100-continue Content-Type: Cookie: Proxy: X-Forwarded-For: X-Forwarded-Proto: X-A:"
    b" Authorization: traceparent: tracestate: %2e%2e %2F %2F..%2F %00 %C3%A9 /../ ${ARGS}".split()
)
_FIELDS = [word.lower() if word.endswith(b":") else word for word in _HTTP]
_CGI = (
    b"Content-Type: Status: Location: Content-Length: Transfer-Encoding: Connection: Set-Cookie: X-Accel-Redirect:"
    b" X-Sendfile: X-Envoy- X-LiteSpeed- Fly-Replay: Date: Server: HTTP/1.1 text/plain chunked 200 302 404".split()
)
_HOSTS = (
    b"http:// https:// *. insecure:allow-all 127.0.0.1 169.254.169.254 [::1] [::ffff: xn-- localhost 0x7f. %2e"
    b" Host: Content-Length: Transfer_Encoding: Authorization: .example.com".split()
)
_ADDRESSES = b"10.0.0.1 6.6.6.6 ::ffff: fd00:: [ ]:80 https http 8443 , unknown".split()
_JSON = (
    b'"mediaType": "schemaVersion": "config": "layers": "manifests": "digest": "size": "platform": "annotations": null'
    b" sha256: application/wasm {} []".split()
)
_TAR = b"ustar path= size= GNU.sparse .wasm .wh. 0000644".split()
_LINES = (b"\r\n", b"\n", b"\r\n\r\n", b"\n\n", b"\n\r\n", b": ", b"\0", b"\t", b"\x0b", b"\xff")

TARGETS = {
    "request": Target(request.check, request.SEEDS, (*_HTTP, *_LINES), 15, request.FOUND),
    "fields": Target(request.check_fields, request.FIELD_SEEDS, (*_FIELDS, *_LINES), 30),
    "response": Target(response.check, response.SEEDS, (*_CGI, *_LINES), 4),
    "block": Target(response.check_block, response.BLOCK_SEEDS, (*_CGI, *_LINES), 30),
    "forwarded": Target(forwarded.check, forwarded.SEEDS, tuple(_ADDRESSES), 5),
    "outbound": Target(outbound.check, outbound.SEEDS, (*_HOSTS, b"\n", b"@", b"\\"), 4),
    "manifest": Target(registry.check_manifest, registry.MANIFEST_SEEDS, tuple(_JSON), 3),
    "layer": Target(registry.check_layer, registry.LAYER_SEEDS, tuple(_TAR), 2, registry.LAYER_FOUND),
    "module": Target(modules.check, modules.SEEDS, modules.WORDS, 3, modules.FOUND),
    "wasi": Target(wasi.check, wasi.SEEDS, wasi.WORDS, 1),
    "reference": Target(
        registry.check_reference,
        registry.REFERENCE_SEEDS,
        (b"oci:", b"oci://", b"@sha256:"),
        3,
        registry.REFERENCE_FOUND,
    ),
}
