"""Requests with a body: ambiguous framing, and standard input."""

from __future__ import annotations

from ...support.http_client import message

MIB = 2**20


def post(target: str, body: bytes, *fields: str) -> bytes:
    return message(f"POST {target} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields, body=body)


def chunked(target: str, *chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return message(f"POST {target} HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", body=body)


CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"


AMBIGUOUS: list[tuple[str, tuple[str, ...], bytes]] = [
    ("Q01", ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Content-Length: 3"), CHUNKS),
    ("Q01-length-first", ("POST /x HTTP/1.1", "Host: h", "Content-Length: 3", "Transfer-Encoding: chunked"), CHUNKS),
    ("Q02-two-lengths", ("POST /x HTTP/1.1", "Host: h", "Content-Length: 3", "Content-Length: 4"), b"abc"),
    ("Q02-list-of-lengths", ("POST /x HTTP/1.1", "Host: h", "Content-Length: 3, 4"), b"abc"),
    ("Q02-plus", ("POST /x HTTP/1.1", "Host: h", "Content-Length: +3"), b"abc"),
    ("Q02-minus", ("POST /x HTTP/1.1", "Host: h", "Content-Length: -3"), b"abc"),
    ("Q02-digits", ("POST /x HTTP/1.1", "Host: h", "Content-Length: " + "9" * 5000), b"abc"),
    ("Q02-octal", ("POST /x HTTP/1.1", "Host: h", "Content-Length: 0o3"), b"abc"),
    ("Q02-http-1.0", ("POST /x HTTP/1.0", "Host: h", "Transfer-Encoding: chunked"), CHUNKS),
    ("B02-gzip-chunked", ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: gzip, chunked"), CHUNKS),
    ("B02-identity", ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: identity"), CHUNKS),
    ("B02-chunked-twice", ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked, chunked"), CHUNKS),
    ("B02-xchunked", ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: xchunked"), CHUNKS),
    (
        "B02-two-encodings",
        ("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        CHUNKS,
    ),
]


BODIES: list[tuple[str, bytes, bytes]] = [
    ("Q07-five", post("/x", b"12345"), b"12345"),
    ("Q07-get", message("GET /x HTTP/1.1", "Host: h"), b""),
    ("Q07-empty-post", post("/x", b""), b""),
    ("Q07-chunked-empty", chunked("/x"), b""),
    ("Q09", message("GET /x HTTP/1.1", "Host: h", "Content-Length: 3", body=b"abc"), b"abc"),
    ("Q09-delete", message("DELETE /x HTTP/1.1", "Host: h", "Content-Length: 3", body=b"abc"), b"abc"),
    ("B01-chunk-extension", chunked("/x", b"abc").replace(b"3\r\n", b"3;a=b\r\n"), b"abc"),
    ("E28-trailer", chunked("/x", b"abc").removesuffix(b"\r\n") + b"X-T: evil\r\n\r\n", b"abc"),
]
