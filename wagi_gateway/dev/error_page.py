"""Pages for browsers in the place of the gateway's own error responses: reason, output, frames, routes."""

from __future__ import annotations

import base64
import difflib
import hashlib
import html
import re
from pathlib import Path
from typing import NamedTuple

from ..cgi.request import RequestHead
from ..cgi.response import ResponseHead
from ..errors import NotFound, RequestError
from ..site.site import Site
from .builds import Builds
from .failure import diagnosis, frames
from .live import LiveReload
from .loopback import is_own_name
from .masks import Masks
from .recording import Recording

_EXCERPT = 512
"""Bytes of standard output and standard error on a page."""
_MAX_ROUTES = 100
_TEXT = ("utf-8", "backslashreplace")
"""Encoding and errors of what a guest prints."""
_HTML = re.compile(rb"(?:^|[,\s])text/html\b(?!\s*;\s*q=0(?:\.0*)?(?:\s*,|\s*$))", re.IGNORECASE)
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2433;--soft:#5b6475;--paper:#fbfaf8;--card:#fff;--line:#e3e0d9;--bad:#a3271b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e4df;--soft:#a2a9b8;--paper:#16181d;--card:#1e2128;--line:#343945;
--bad:#ff9d8f}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:56rem;margin:0 auto;padding:2.5rem 1.25rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}h2{font-size:1rem;margin:2rem 0 .5rem}
.status{color:var(--bad);font-weight:600;margin:0 0 .25rem}p{margin:.5rem 0}.soft{color:var(--soft)}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.75rem 1rem;overflow:auto;
font:13px/1.5 ui-monospace,monospace;margin:.5rem 0}
mark{background:none;color:var(--bad);font-weight:700}ul{padding-left:1.25rem}a{color:inherit}
code{font:.92em ui-monospace,monospace}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; script-src 'self'; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'".encode(),
    ),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Page(NamedTuple):
    """A response with a page."""

    head: ResponseHead
    body: bytes


class ErrorPages:
    """The pages of one server. The token of the inspector is in none of them: a guest's page may read them."""

    def __init__(
        self, base: Path, inspector: str, builds: Builds, live: LiveReload, *, is_stale_served: bool = False
    ) -> None:
        """`base` is the directory whose sources are shown; `is_stale_served` answers from the old site after a failed
        build."""
        self._base = base
        self._inspector = inspector
        self._builds = builds
        self._live = live
        self._is_stale_served = is_stale_served

    def of_error(self, recording: Recording, error: RequestError, site: Site) -> Page | None:
        """The page of an error; None for a client that is no browser of this host."""
        if not _is_browser(recording.request):
            return None
        masks = Masks.of(recording)
        title = f"{error.status} {(error.public or 'Not Found').partition(':')[0]}"
        parts = [_paragraph(masks.text(str(error) or error.public))]
        if isinstance(error, NotFound):
            parts.append(_routes(recording.request.raw_path.decode("latin-1"), site))
        else:
            found = diagnosis(recording, masks)
            stderr = masks.end(recording.stderr.content, _EXCERPT)
            stdout = masks.beginning(recording.stdout.content, _EXCERPT)
            parts += [
                _frames(recording, self._base),
                *map(_paragraph, filter(None, [found.advice])),
                _excerpt("Standard error", stderr.decode(*_TEXT)),
                _excerpt("Standard output", "\n".join(found.refused()) or stdout.decode(*_TEXT)),
            ]
        request_id = html.escape(recording.request.request_id)
        link = f'<a href="{html.escape(self._inspector)}/#/{recording.number}">request {recording.number}</a>'
        parts.append(f'<p class="soft">In the inspector: {link} · id <code>{request_id}</code></p>')
        return self._page(error.status, title, parts, error.headers)

    def of_build(self, request: RequestHead) -> Page | None:
        """The page of a failed build; None if the last build has succeeded, and for a request that is no page's."""
        builds = self._builds
        is_page = request.method in ("GET", "HEAD") and _is_browser(request)
        is_page = request.method in ("GET", "HEAD") and _is_browser(request)
        if self._is_stale_served or not builds.is_broken or not is_page:
            return None
        parts = ["<p>The module of before is kept. This page loads itself anew after the next build.</p>"]
        for result in builds.failed:
            parts.append(f"<h2>{html.escape(result.route)}</h2>")
            parts.append(_paragraph(f"{result.command} ended with code {result.code}"))
            parts.append(_pre(_ESCAPE_SEQUENCE.sub("", result.output.decode("utf-8", "replace"))))
        if builds.problems:
            parts.append(_pre("\n".join(map(str, builds.problems))))
        title = "The build has failed" if builds.failed else "The configuration cannot be served"
        return self._page(500, title, parts)

    def _page(self, status: int, title: str, parts: list[str], headers: tuple[tuple[bytes, bytes], ...] = ()) -> Page:
        document = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{self._live.element.decode()}"
            f'<main><p class="status">wagi-gateway dev</p><h1>{html.escape(title)}</h1>{"".join(parts)}</main></html>\n'
        )
        return Page(ResponseHead(status, (*_HEADERS, *headers), None), document.encode("utf-8", "replace"))


def _is_browser(request: RequestHead) -> bool:
    """Whether the client accepts HTML, and has called the server by a name of this host: a page shows sources."""
    hosts = [request.target_authority] if request.target_authority else request.values(b"host")
    return all(map(is_own_name, hosts)) and any(_HTML.search(value) for value in request.values(b"accept"))


def _routes(path: str, site: Site) -> str:
    texts = [pattern.text for pattern, _ in site.routes] + [pattern.text for pattern, _ in site.static]
    near = difflib.get_close_matches(path.lower(), [text.removesuffix("/...").lower() or "/" for text in texts], 1, 0.5)
    items = []
    for text in texts[:_MAX_ROUTES]:
        is_near = bool(near) and (text.removesuffix("/...").lower() or "/") == near[0]
        link = f'<a href="{html.escape(text.removesuffix("/...") or "/")}">{html.escape(text)}</a>'
        items.append(f"<li>{link}{' — did you mean this one?' if is_near else ''}</li>")
    return f"<h2>Routes</h2><ul>{''.join(items)}</ul>" if items else "<p>The configuration has no route.</p>"


def _frames(recording: Recording, base: Path) -> str:
    parts = []
    for frame in frames(recording, base):
        place = f" — {frame.file}:{frame.line}" if frame.file else ""
        parts.append(f"<p><code>{html.escape(frame.function)}</code>{html.escape(place)}</p>")
        lines = []
        for number, text in frame.source:
            line = f"{number:>5}  {html.escape(text)}"
            lines.append(f"<mark>{line}</mark>" if number == frame.line else line)
        parts.append(f"<pre>{chr(10).join(lines)}</pre>" if lines else "")
    return f"<h2>Where</h2>{''.join(parts)}" if parts else ""


def _excerpt(title: str, text: str) -> str:
    return f"<h2>{title}</h2>{_pre(text)}" if text else ""


def _pre(text: str) -> str:
    return f"<pre>{html.escape(text.replace(chr(0), '␀'))}</pre>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
