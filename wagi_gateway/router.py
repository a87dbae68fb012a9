"""Routing: finds the target of a path, and divides the path into SCRIPT_NAME and PATH_INFO (RFC 3875 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote_to_bytes

from .errors import BadRequest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_PLAIN = re.compile(rb"[^\x21-\x24\x26-\x7e]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_USUAL_PATH = 256
"""Longest path in bytes whose match is cached."""


def normalize(raw_path: bytes) -> bytes:
    """The raw path with unreserved characters decoded and dot segments removed (RFC 3986 sections 6.2.2.2 and 5.2.4).

    `%2F` stays encoded, so that it never separates segments, and empty segments stay. Raises BadRequest for a path
    that does not start with "/" or that climbs above the root.
    """
    if b"%" in raw_path:
        raw_path = _ESCAPE.sub(_decode_unreserved, raw_path)
    if not raw_path.startswith(b"/"):
        raise BadRequest(f"the request target {raw_path!r} is not a path")
    if b"/." not in raw_path:
        return raw_path
    segments: list[bytes] = []
    *parents, last = raw_path[1:].split(b"/")
    for segment in parents:
        _append(segments, segment)
    if last in (b".", b".."):
        _append(segments, last)
        last = b""
    return b"/" + b"/".join([*segments, last])


def _append(segments: list[bytes], segment: bytes) -> None:
    """Appends a segment, or resolves it if it is a dot segment."""
    if segment == b"..":
        if not segments:
            raise BadRequest("the path climbs above the root")
        segments.pop()
    elif segment != b".":
        segments.append(segment)


def _decode_unreserved(escape: re.Match[bytes]) -> bytes:
    octet = int(escape[1], 16)
    return bytes([octet]) if octet in _UNRESERVED else escape[0]


def _upper_escapes(path: bytes) -> bytes:
    """The path with its escapes in upper case, for comparison (RFC 3986 section 6.2.2.1). The length stays."""
    return _ESCAPE.sub(lambda escape: escape[0].upper(), path) if b"%" in path else path


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
            raise ValueError(f'a route starts with "/"; write "/{self.text}"')
        if "?" in self.text or "#" in self.text:
            raise ValueError("a route is a path, without query or fragment")
        if any(ord(character) < 32 or ord(character) == 127 for character in self.text):
            raise ValueError("a route must not contain control characters")
        if normalize(self.key) != self.key:
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
        """The encoded path, in the form that request paths are compared in."""
        encoded = quote(self.path, safe="/%!$&'()*+,;=:@~-._").encode()
        return _upper_escapes(_ESCAPE.sub(_decode_unreserved, encoded)) or b"/"

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
        key = _upper_escapes(path)
        if found := self._exact.get(key):
            pattern, script_name, target = found
            return RouteMatch(target, pattern, script_name, path, b"", b"")
        end = len(key)
        if end > self._longest_prefix:
            end = key.rfind(b"/", 0, self._longest_prefix + 1)
        while end >= 0:
            if found := self._prefix.get(key[:end]):
                pattern, script_name, target = found
                raw = path[end:]
                return RouteMatch(target, pattern, script_name, path, raw, decode_path_info(raw))
            end = key.rfind(b"/", 0, end)
        return None


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
