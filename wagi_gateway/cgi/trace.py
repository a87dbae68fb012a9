"""The trace context of a request: `traceparent` and `tracestate` (W3C Trace Context, Recommendation)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .environ import Environ
from .request import RequestHead

MAX_STATE = 512
"""Largest `tracestate` in bytes, the least that a system must propagate (section 3.3.1.5); a longer one is dropped."""
MAX_MEMBERS = 32
"""Most members of `tracestate` (section 3.3.1.1)."""

_PARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<ids>[0-9a-f]{32}-[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_NO_IDS = re.compile(rb"0{32}|.{33}0{16}")
_SAMPLED = 1
_MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Valid values of `traceparent` and `tracestate`; `state` may be empty."""

    parent: bytes
    """`00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`: version, trace, the caller's span, flags."""
    state: bytes = b""

    @classmethod
    def parse(cls, parents: Sequence[bytes], states: Sequence[bytes]) -> TraceContext | None:
        """Parses the values of both header fields. None for an invalid `traceparent`, which makes `tracestate` invalid
        too (section 3.2.2). A higher version is read as version 00 (section 3.2.4)."""
        match = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
        if match is None or match["version"] == b"ff" or _NO_IDS.match(match["ids"]):
            return None
        if match["version"] != b"00":
            return cls(b"00-%b-%02x" % (match["ids"], int(match["flags"], 16) & _SAMPLED), _parse_state(states))
        return None if match["more"] else cls(parents[0], _parse_state(states))

    @property
    def trace_id(self) -> str:
        """The trace id: 32 hexadecimal digits."""
        return self.parent[3:35].decode()

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The context as header fields."""
        state = [(b"tracestate", self.state)] if self.state else []
        return [(b"traceparent", self.parent), *state]

    @property
    def environ(self) -> Environ:
        """The context as meta-variables."""
        state = {b"HTTP_TRACESTATE": self.state} if self.state else {}
        return {b"HTTP_TRACEPARENT": self.parent, **state}


def find_trace(request: RequestHead) -> TraceContext | None:
    """The trace context of a request; None without a valid one."""
    parents = request.fields.get(b"traceparent")
    return TraceContext.parse(parents, request.values(b"tracestate")) if parents else None


def _parse_state(values: Sequence[bytes]) -> bytes:
    """The members of all values in order; empty if one is invalid, or beyond MAX_STATE or MAX_MEMBERS."""
    state = b",".join(values)
    if len(state) > MAX_STATE:
        return b""
    members = [member for item in state.split(b",") if (member := item.strip(b" \t"))]
    return b",".join(members) if len(members) <= MAX_MEMBERS and all(map(_MEMBER.fullmatch, members)) else b""
