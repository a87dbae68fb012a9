"""One request to a site without a server, through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from difflib import SequenceMatcher
from typing import IO, Any, Literal, cast

from ..app import application
from ..errors import Problem
from ..gateway.gateway import Gateway
from ..http.reason_phrase import reason_phrase
from ..router import RoutePattern
from ..site.site import Site
from .raw_output import RawGateway
from .run_request import RunRequest

_Message = MutableMapping[str, Any]
"""An ASGI message."""
Show = Literal["response", "body", "raw"]
"""What is written: the response with its head, its body alone, or standard output of the guest as it is."""
_MAX_ROUTES = 20
"""Routes that are listed where none matches."""


def run_once(site: Site, request: RunRequest, output: IO[bytes], show: Show = "response") -> int:
    """Writes what is to be shown to `output`, and closes the site. Returns the response's status."""
    return asyncio.run(_run_once(site, request, output, show))


async def _run_once(site: Site, request: RunRequest, output: IO[bytes], show: Show) -> int:
    statuses = []
    sent = iter([{"type": "http.request", "body": request.data or b"", "more_body": False}])

    async def receive() -> _Message:
        message = next(sent, None)
        if message is None:
            await asyncio.Event().wait()  # no disconnect
        return message or {}

    async def send(message: _Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            write(_head(message) if show == "response" else b"")
        elif show != "raw":
            write(message["body"])

    def write(data: bytes) -> None:
        output.write(data)
        output.flush()

    app = application(RawGateway(site, write) if show == "raw" else Gateway(site))
    scope = request.scope(scheme="https" if site.certificate else "http")
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    return int(statuses[0]) if statuses else 200  # what `head` has left unread is no failure


def unmatched(site: Site, request: RunRequest) -> list[Problem]:
    """The problem of a request that no route answers, with the routes, the nearest one first; else nothing."""
    raw_path = cast(bytes, request.scope()["raw_path"])
    path = raw_path.decode()
    if site.router.match(raw_path) is not None:
        return []
    patterns = sorted([pattern for pattern, _ in (*site.routes, *site.static)], key=lambda one: -_likeness(one, path))
    names = [pattern.text for pattern in patterns[:_MAX_ROUTES]]
    more = f" and {len(patterns) - len(names)} more" if len(patterns) > len(names) else ""
    return [
        Problem("--path", f"no route answers {path}; did you mean {names[0]}? The routes: {', '.join(names)}{more}")
    ]


def _likeness(pattern: RoutePattern, path: str) -> float:
    return SequenceMatcher(None, pattern.path, path).ratio()


def _head(message: _Message) -> bytes:
    line = f"HTTP/1.1 {message['status']} {reason_phrase(message['status'])}".rstrip()
    fields = b"".join(b"%s: %s\r\n" % field for field in message["headers"])
    return line.encode() + b"\r\n" + fields + b"\r\n"
