"""The reference: uvicorn with small ASGI applications.

Run with `python -m benchmarks.servers.bare [NAME [DIRECTORY]]`; the directory is that of `static`.
"""

from __future__ import annotations

import socket
import sys
import time

import uvicorn
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

BODY = b"hello world\n"
PIECE = bytes(64 * 1024)
BUSY = 50e-6
"""Seconds of the application `busy`."""


async def constant(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The response of samples/wat/hello.wat, without a guest."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """The same response after a busy loop of BUSY seconds."""
    end = time.perf_counter() + BUSY
    while time.perf_counter() < end:
        pass
    await constant(scope, receive, send)


async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
    """A response in pieces of 64 KiB from memory; the path ends with its size in bytes."""
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(int(scope["path"].rpartition("/")[2]) // len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """A response with the request's body."""
    pieces = []
    while True:
        message = await receive()
        pieces.append(message["body"])
        if not message.get("more_body"):
            break
    body = b"".join(pieces)
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(app: ASGIApp) -> None:
    """Serves on a free port with the uvicorn settings of `wagi-gateway serve`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    print(f"Ready: serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run([listener])


_APPLICATIONS = {"constant": constant, "busy": busy, "stream": stream, "echo": echo}


if __name__ == "__main__":
    name, *directory = sys.argv[1:] or ["constant"]
    serve(StaticFiles(directory=directory[0]) if name == "static" else _APPLICATIONS[name])
