"""The inspector: a page in the browser over the history of a development server, on a port of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .detail import detail, summary
from .export import CannotExport, ServedConfiguration, as_curl, as_har, as_pytest, as_run, as_test
from .guard import InspectorGuard
from .history import Event, History
from .modules import Modules
from .recorder import RecordingGateway, Resent
from .recording import Recording
from .resend import CannotResend, ResentRequest, fields_of, resend, target_of

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NUMBER = re.compile(r"[0-9]{1,15}")
_MAX_SUBSCRIBERS = 16
_MAX_REQUEST = 2 * 1024 * 1024
"""Bytes of a request to the API: a body of 1 MiB in base64, and the head."""
_KEEPALIVE = 15.0
"""Seconds after which a stream without events gets a comment, so that a lost client is noticed."""


class Inspector:
    """The pages and the API of the inspector."""

    def __init__(
        self,
        gateway: RecordingGateway,
        modules: Modules,
        *,
        config: ServedConfiguration,
        address: tuple[str, int],
        origin: str,
        rebuild: Callable[[], Awaitable[None]],
    ) -> None:
        """`address` and `origin` are those of the listener that serves guests; `rebuild` builds every module."""
        self._gateway = gateway
        self._history: History = gateway.history
        self._modules = modules
        self._config = config
        self._address = address
        self._origin = origin
        self._rebuild = rebuild
        self.is_closing = asyncio.Event()
        """Ends the streams of events."""

    def app(self, hosts: Collection[str], token: str) -> InspectorGuard:
        """The ASGI application behind its guard; `hosts` are the names it answers to, with the port."""
        routes = [
            *_page_routes(),
            Route("/api/events", self._events),
            Route("/api/invocations", self._list),
            Route("/api/invocations", self._clear, methods=["DELETE"]),
            Route("/api/invocations/{number}", self._detail),
            Route("/api/invocations/{number}/resend", self._resend, methods=["POST"]),
            Route("/api/invocations/{number}/copy/{form}", self._copy),
            Route("/api/har", self._har),
            Route("/api/modules", self._list_modules),
            Route("/api/rebuild", self._start_rebuild, methods=["POST"]),
        ]
        return InspectorGuard(Starlette(routes=routes), hosts=hosts, token=token)

    def _find(self, request: Request) -> Recording:
        number = request.path_params["number"]
        found = self._history.get(int(number)) if _NUMBER.fullmatch(number) else None
        if found is None:
            raise HTTPException(404, "this request is not kept any more")
        return found

    async def _events(self, _: Request) -> Response:
        if self._history.subscribers >= _MAX_SUBSCRIBERS:
            raise HTTPException(503, "too many pages of the inspector are open")
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        closing = asyncio.ensure_future(self.is_closing.wait())
        waiting: list[asyncio.Task[Any]] = [closing]
        try:
            with self._history.subscribed() as queue:
                yield _event({"type": "hello"})
                while not closing.done():
                    following = asyncio.ensure_future(queue.get())
                    waiting[1:] = [following]
                    await asyncio.wait(waiting, timeout=_KEEPALIVE, return_when=asyncio.FIRST_COMPLETED)
                    if following.done():
                        yield _event(following.result())
                    else:
                        following.cancel()
                        yield ": still here\n\n"
        finally:
            for task in waiting:
                task.cancel()

    async def _list(self, _: Request) -> Response:
        rows = [summary(one) for one in self._history]
        return _json({"invocations": rows, "origin": self._origin, "held": self._history.held})

    async def _clear(self, _: Request) -> Response:
        self._history.clear()
        return Response(status_code=204)

    async def _detail(self, request: Request) -> Response:
        recording = self._find(request)
        previous = self._history.previous(recording)
        return _json(detail(recording, previous, self._config.file.parent, reveal=_reveals(request)))

    async def _copy(self, request: Request) -> Response:
        recording, reveal = self._find(request), _reveals(request)
        try:
            match request.path_params["form"]:
                case "curl":
                    text = as_curl(recording, self._origin, reveal=reveal)
                case "run":
                    text = as_run(recording, self._config, reveal=reveal)
                case "test":
                    text = as_test(recording, self._config, reveal=reveal)
                case "pytest":
                    text = as_pytest(recording, self._config, reveal=reveal)
                case _:
                    raise HTTPException(404)
        except CannotExport as error:
            raise HTTPException(409, str(error)) from None
        return PlainTextResponse(text)

    async def _har(self, request: Request) -> Response:
        wanted = {word for word in request.query_params.get("numbers", "").split(",") if word}
        chosen = [one for one in self._history if not wanted or str(one.number) in wanted]
        return _json(as_har(chosen, self._origin, reveal=_reveals(request)))

    async def _resend(self, request: Request) -> Response:
        recording = self._find(request)
        edits = await _read_json(request)
        expected = self._gateway.resent
        addresses: list[tuple[str, int]] = []

        def expect(address: tuple[str, int], resent: Resent) -> None:
            expected[address] = resent
            addresses.append(address)

        try:
            sent = _edited(recording, edits)
            if edits.get("rebuild"):
                await self._rebuild()
            status = await resend(sent, self._address, expect)
        except CannotResend as error:
            raise HTTPException(409, str(error)) from None
        finally:
            for address in addresses:  # of a request that the server's parser has refused
                expected.pop(address, None)
        copies = [one.number for one in self._history if one.parent == recording.number]
        return _json({"status": status, "number": max(copies, default=None)})

    async def _list_modules(self, _: Request) -> Response:
        return _json({"modules": self._modules.documents(self._gateway.site, self._history)})

    async def _start_rebuild(self, _: Request) -> Response:
        await self._rebuild()
        return Response(status_code=204)


def _edited(recording: Recording, edits: dict[str, object]) -> ResentRequest:
    """The request of a recording with these edits. Raises CannotResend."""
    if not edits.keys() - {"rebuild"}:
        return ResentRequest.of(recording)
    before = recording.request
    client = edits.get("client")
    return ResentRequest(
        parent=recording.number,
        method=str(edits.get("method", before.method)),
        target=_octets(str(edits["target"])) if "target" in edits else target_of(before),
        headers=_edited_fields(edits["headers"]) if "headers" in edits else fields_of(before),
        body=_edited_body(edits["body"]) if "body" in edits else ResentRequest.of(recording).body,
        client=str(client) if client else None,
    )


def _edited_fields(fields: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(fields, list) or not all(isinstance(field, list) and len(field) == 2 for field in fields):
        raise CannotResend("header fields: a list of pairs is needed")
    return tuple((str(name), _octets(str(value))) for name, value in fields)


def _octets(text: str) -> str:
    """The UTF-8 of a text, which the page has decoded, as a character for each byte."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _edited_body(encoded: object) -> bytes:
    try:
        return base64.b64decode(str(encoded), validate=True)
    except ValueError:  # binascii.Error, or a character beyond ASCII
        raise CannotResend("body: not base64") from None


async def _read_json(request: Request) -> dict[str, object]:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > _MAX_REQUEST:
            raise HTTPException(413, "the request is larger than the inspector sends again")
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    if not isinstance(document, dict):
        raise HTTPException(400, "not an object")
    return document


def _reveals(request: Request) -> bool:
    return request.query_params.get("secrets") == "1"


def _page_routes() -> list[Route]:
    """A route for each file of the page; `/` is its document."""
    routes = []
    for file in resources.files(__package__).joinpath("page").iterdir():
        suffix = Path(file.name).suffix
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            routes.append(Route(path, _PageFile(file.read_bytes(), f"{_TYPES[suffix]}; charset=utf-8")))
    return routes


class _PageFile:
    """A file of the page, in memory."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(self._content, headers={"content-type": self._media_type})(scope, receive, send)


def _event(event: Event) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _json(document: object) -> Response:
    return Response(json.dumps(document), headers={"content-type": "application/json"})
