"""Recordings of requests that were never sent."""

from __future__ import annotations

from collections.abc import Sequence

from wagi_gateway.cgi.request import RequestHead
from wagi_gateway.config.settings import ModuleConfig
from wagi_gateway.dev.history import History
from wagi_gateway.dev.recording import Recording
from wagi_gateway.sandbox.invocation import Outcome

Fields = Sequence[tuple[bytes, bytes]]


def head(method: str = "GET", target: bytes = b"/x", fields: Fields = ()) -> RequestHead:
    """A request head of a client on this host."""
    path, _, query = target.partition(b"?")
    headers = ((b"host", b"localhost:3000"), *fields)
    return RequestHead(method, path, query, "1.1", "http", headers, ("127.0.0.1", 9), ("127.0.0.1", 80), "id1")


def recording(
    request: RequestHead | None = None,
    *,
    body: bytes = b"",
    stdout: bytes = b"",
    stderr: bytes = b"",
    history: History | None = None,
    outcome: Outcome | None = Outcome("exit"),  # noqa: B008 - a NamedTuple
    **settings: object,
) -> Recording:
    """The recording of a request whose guest has printed `stdout`; `settings` are those of the `[[module]]`."""
    one = (history or History()).begin(request or head(), None, 0)
    one.config = ModuleConfig.model_validate({"route": "/x", "module": "m.wasm", **settings})
    one.route, one.source = "/x", "m.wasm"
    for stream, data in ((one.body, body), (one.stdout, stdout)):
        if data:
            stream.feed(data)
    if stderr:
        one.feed_stderr(stderr)
    one.outcome, one.is_over = outcome, True
    return one
