"""Routing: finds the target of a path, and divides the path into SCRIPT_NAME and PATH_INFO (RFC 3875 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from .errors import BadRequest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# An escape behind a stray "%" stays, for its octet could complete another escape: "%%32e" is no "%2e".
_ESCAPE = re.compile(rb"(%[0-9A-Fa-f]?)?%([0-9A-Fa-f]{2})")
_NOT_PLAIN = re.compile(rb"[^\x21-\x24\x26-\x7e]")
_OCTET = re.compile(rb"%([0-9A-Fa-f]{2})|[^\x21-\x24\x26-\x7e]")
"""An escape, or an octet that `comparable` escapes."""
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BEFORE_PATH = re.compile(r"\A([A-Z]+\s+)?([A-Za-z][A-Za-z0-9+.-]*://[^/]*)?")
"""What routes of other servers have before the path: a method, and an origin."""
_USUAL_PATH = 256
"""Longest path in bytes whose match is cached."""


def normalize(raw_path: bytes) -> bytes:
    """The raw path with unreserved characters decoded and dot segments removed (RFC 3986 sections 6.2.2.2 and 5.2.4).

    `%2F` stays encoded, so that it never separates segments, and void segments stay. Raises BadRequest for a path that
    does not start with "/", that climbs above the root, or whose dot segments other servers resolve differently.
    """
    if b"%" in raw_path:
        raw_path = _ESCAPE.sub(_decode_unreserved, raw_path)
    if not raw_path.startswith(b"/"):
        raise BadRequest(f"the request target {raw_path!r} is not a path")
    if b"/." not in raw_path:
        return raw_path
    return b"/" + b"/".join(_without_dot_segments(raw_path[1:].split(b"/")))


def _without_dot_segments(raw_segments: list[bytes]) -> list[bytes]:
    """The segments without dot segments, a last one of which leaves a trailing slash.

    Raises BadRequest for a dot segment above the root, and for one beside a void segment or behind a void segment or
    `%2F`. Other servers merge slashes and decode `%2F` first: to nginx `/a//../b` is `/b`, not `/a/b`, and
    `/x/a%2Fb/../../c` is `/x/c`, not `/c`. An access rule of such a server would match another path than the route.
    """
    segments: list[bytes] = []
    is_merged = is_dot = False
    *parents, last = raw_segments
    for segment in parents if last not in (b".", b"..") else raw_segments:
        if segment in (b".", b".."):
            is_dot = True
            if is_merged:
                raise BadRequest('the path has a dot segment behind a void segment ("//") or an encoded slash ("%2F")')
            if segment == b"..":
                if not segments:
                    raise BadRequest("the path climbs above the root")
                segments.pop()
            continue
        if not segment and is_dot:
            raise BadRequest('the path has a void segment ("//") behind a dot segment')
        is_dot = False
        is_merged = is_merged or not segment or b"%2f" in segment.lower()
        segments.append(segment)
    return [*segments, b"" if last in (b".", b"..") else last]


def _decode_unreserved(escape: re.Match[bytes]) -> bytes:
    octet = int(escape[2], 16)
    return bytes([octet]) if octet in _UNRESERVED and not escape[1] else escape[0]


def comparable(path: bytes) -> bytes:
    """The path in the one notation that routes are compared in.

    A visible ASCII character stands raw, `/` and `%` as escapes in upper case, if they are data, and every other octet
    as an escape: `/[x]`, `/%5Bx%5D` and `/%5bx%5d` are equal. The number of segments stays.
    """
    return _OCTET.sub(_notation, path) if _NOT_PLAIN.search(path) else path


def _notation(found: re.Match[bytes]) -> bytes:
    octet = int(found[1], 16) if found[1] else found[0][0]
    return bytes([octet]) if 0x21 <= octet <= 0x7E and octet not in b"%/" else b"%%%02X" % octet


def decode_path_info(raw: bytes) -> bytes:
    """PATH_INFO: `raw` percent-decoded once. A malformed escape stays.

    Raises BadRequest for a path that decodes to a control character, invalid UTF-8, or a dot segment behind `%2F`.
    """
    if not _NOT_PLAIN.search(raw):
        return raw
    path = unquote_to_bytes(raw)
    if _CONTROL.search(path):
        raise BadRequest("the path decodes to a control character")
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path does not decode to UTF-8") from None
    if b"/." in path and not {b".", b".."}.isdisjoint(path.split(b"/")):
        raise BadRequest("the path hides a dot segment behind %2F")
    return path


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """A route: `/exact` matches one path, `/prefix/...` the path and everything below it."""

    text: str

    def __post_init__(self) -> None:
        if not self.text.startswith("/"):
            path = _BEFORE_PATH.sub("", self.text).lstrip("/")
            raise ValueError(f'a route starts with "/"; write "/{path}"')
        if "?" in self.text or "#" in self.text:
            raise ValueError("a route is a path, without query or fragment")
        if _CONTROL.search(self.script_name):
            raise ValueError("a route must not contain control characters, encoded ones included")
        try:
            self.script_name.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("a route must be UTF-8 when it is decoded") from None
        if not {b".", b".."}.isdisjoint(self.script_name.split(b"/")):
            raise ValueError('a route must not contain "." or ".." segments; they are resolved before routing')

    @property
    def is_prefix(self) -> bool:
        """Whether the route matches everything below its path too."""
        return self.text.endswith("/...")

    @property
    def path(self) -> str:
        """The path without the `/...`; empty for the root prefix."""
        return self.text.removesuffix("/...") if self.is_prefix else self.text

    @property
    def script_name(self) -> bytes:
        """SCRIPT_NAME, not URL-encoded (RFC 3875 section 4.1.13)."""
        return unquote_to_bytes(self.path)

    @property
    def key(self) -> bytes:
        """The path in the notation that request paths are compared in."""
        return comparable(self.path.encode()) or b"/"

    def join(self, child: str) -> RoutePattern:
        """The pattern of `child`, a line of `_routes`, below this pattern. Raises ValueError.

        >>> RoutePattern("/a/...").join("/b/...").text
        '/a/b/...'
        """
        return RoutePattern(self.path.rstrip("/") + "/" + child.lstrip("/"))


class RouteMatch(NamedTuple, Generic[T_co]):
    """The match of a request path: its target, and the parts of the path that CGI needs."""

    target: T_co
    pattern: str
    script_name: bytes
    path: bytes
    """The normalized path, still encoded."""
    raw_path_info: bytes
    path_info: bytes


class _RouteTable(Generic[T]):
    """The routes by path: exact ones, and prefixes without their `/...`."""

    def __init__(self, routes: Iterable[tuple[RoutePattern, T]]) -> None:
        self._exact: dict[bytes, tuple[str, bytes, T]] = {}
        self._prefix: dict[bytes, tuple[str, bytes, T]] = {}
        for pattern, target in routes:
            table = self._prefix if pattern.is_prefix else self._exact
            key = b"" if pattern.is_prefix and not pattern.path else pattern.key
            if key in table:
                raise ValueError(f"the route {pattern.text} is taken by {table[key][0]}")
            table[key] = (pattern.text, pattern.script_name, target)
        self._longest_prefix = max(map(len, self._prefix), default=-1)

    def find(self, raw_path: bytes) -> RouteMatch[T] | None:
        """The match of a raw request path. Raises BadRequest."""
        path = normalize(raw_path)
        key = comparable(path)
        if found := self._exact.get(key):
            pattern, script_name, target = found
            return RouteMatch(target, pattern, script_name, path, b"", b"")
        end = len(key)
        if end > self._longest_prefix:
            end = key.rfind(b"/", 0, self._longest_prefix + 1)
        while end >= 0:
            if found := self._prefix.get(key[:end]):
                pattern, script_name, target = found
                raw = path[end:] if key is path else _tail(path, key.count(b"/", 0, end))
                return RouteMatch(target, pattern, script_name, path, raw, decode_path_info(raw))
            end = key.rfind(b"/", 0, end)
        return None


def _tail(path: bytes, count: int) -> bytes:
    """The path behind its first `count` segments."""
    start = 0
    for _ in range(count):
        start = path.find(b"/", start + 1)
        if start < 0:
            return b""
    return path[start:]


class Router(Generic[T]):
    """Finds the most specific route: exact before prefix, a longer prefix before a shorter one.

    A match costs one dictionary access per path segment, whatever the number of routes.
    """

    def __init__(self, routes: Iterable[tuple[RoutePattern, T]]) -> None:
        # The table is an object of its own: a cache of this object's own method would be a cycle, which only the
        # garbage collector frees, seldom, and every module with it.
        self._find = _RouteTable(routes).find
        self._find_usual = lru_cache(maxsize=1024)(self._find)

    def match(self, raw_path: bytes) -> RouteMatch[T] | None:
        """The match of a raw request path; None if no route matches. Raises BadRequest for an invalid path."""
        # Only short paths enter the cache: the client chooses them.
        return self._find_usual(raw_path) if len(raw_path) <= _USUAL_PATH else self._find(raw_path)
