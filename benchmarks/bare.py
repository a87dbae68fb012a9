"""What uvicorn alone makes of a constant answer: the yardstick. Run it with `python -m benchmarks.bare`."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

BODY = b"hello world\n"


async def constant(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The answer that samples/wat/hello.wat gives, without a guest."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def serve(app: ASGIApp) -> None:
    """Serves on a port of its own, with the settings `wagi-gateway serve` gives uvicorn."""
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


if __name__ == "__main__":
    serve(constant)
