"""Live reload: a page in the browser that loads itself anew when what is served has changed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

EVENTS = "/.wagi-gateway/live"
SCRIPT = "/.wagi-gateway/live.js"
_MAX_STREAMS = 32
_PARTIAL_OR_BODILESS = (204, 205, 206, 304)
"""Statuses of responses without the whole of a page (RFC 9110 section 15)."""
_KEEPALIVE = 15.0
"""Seconds after which a stream without events gets a comment, so that a lost client is noticed."""
# A page that the browser has kept names an old version: it is loaded anew once for each version, not for ever.
_SOURCE = f"""\
{{
  const shown = new URL(document.currentScript.src).search.slice(1);
  new EventSource("{EVENTS}").onmessage = ({{ data }}) => {{
    if (data === shown || sessionStorage.getItem("{EVENTS}") === data) return;
    sessionStorage.setItem("{EVENTS}", data);
    location.reload();
  }};
}}
"""


class LiveReload:
    """The version of what is served, the pages that wait for the next one, and the script that does so in a page."""

    def __init__(self) -> None:
        self.is_closing = asyncio.Event()
        """Ends the streams of events."""
        self._start = secrets.token_hex(4)
        self._number = 0
        self._changed = asyncio.Event()
        self._streams = 0

    @property
    def version(self) -> str:
        """The version of what is served, which differs between starts."""
        return f"{self._start}-{self._number}"

    @property
    def element(self) -> bytes:
        """The HTML element that loads the script into a page of the present version."""
        return f'<script src="{SCRIPT}?{self.version}"></script>'.encode()

    def change(self) -> None:
        """Has every page load itself anew."""
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for the script or the events."""
        site = Headers(scope=scope).get("sec-fetch-site", "none")
        response: Response
        if scope["method"] != "GET" or site not in ("none", "same-origin"):
            response = PlainTextResponse("for pages of this site alone\n", 403)
        elif scope["path"] == SCRIPT:
            response = Response(_SOURCE, media_type="text/javascript")
        elif self._streams >= _MAX_STREAMS:
            response = PlainTextResponse("too many pages are open\n", 503)
        else:
            response = StreamingResponse(self._events(), media_type="text/event-stream")
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    async def _events(self) -> AsyncGenerator[str, None]:
        self._streams += 1
        waiting = [asyncio.ensure_future(self.is_closing.wait())]
        try:
            yield f"data: {self.version}\n\n"
            while not waiting[0].done():
                waiting[1:] = [asyncio.ensure_future(self._changed.wait())]
                await asyncio.wait(waiting, timeout=_KEEPALIVE, return_when=asyncio.FIRST_COMPLETED)
                waiting[1].cancel()
                yield f"data: {self.version}\n\n"
        finally:
            for task in waiting:  # a page that leaves would keep its tasks until the next change
                task.cancel()
            self._streams -= 1


class LiveResponse:
    """A response whose HTML page gets an element at its end. Every other response passes unchanged."""

    def __init__(self, element: bytes) -> None:
        self._element = element
        self._is_page = False

    def __call__(self, message: Message) -> Message:
        """The message to send in the place of `message`."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            self._is_page = message["status"] not in _PARTIAL_OR_BODILESS and _is_plain_html(headers)
            if self._is_page and (length := headers.get("content-length")):
                headers["content-length"] = str(int(length) + len(self._element))
                return {**message, "headers": headers.raw}
        elif self._is_page and not message.get("more_body"):
            return {**message, "body": message.get("body", b"") + self._element}
        return message


def _is_plain_html(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("text/html") and "content-encoding" not in headers
