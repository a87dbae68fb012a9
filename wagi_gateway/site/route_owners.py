"""The owners of routes: detects duplicate routes."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import BadRequest
from ..router import RoutePattern
from .findings import Findings

BUILT_IN = ("/healthz", "/readyz")


class _OwnedRoute(NamedTuple):
    pattern: RoutePattern
    owner: str
    findings: Findings


class RouteOwners:
    """The routes of all modules and published directories, of those that fail to load, too."""

    def __init__(self) -> None:
        self._owned: list[_OwnedRoute] = []

    def add(self, findings: Findings, owner: str, pattern: RoutePattern) -> None:
        """Adds a route. `owner` is its table, such as `[[module]] 1`; `findings` receives its faults."""
        self._owned.append(_OwnedRoute(pattern, owner, findings))

    def check(self) -> None:
        """Refuses a route with two owners, and warns of one that is built in."""
        taken: dict[tuple[bytes, bool], str] = {}
        for pattern, owner, findings in self._owned:
            if pattern.text in BUILT_IN:
                findings.warn(f"{pattern.text} is built in and wins over this route")
            other = taken.setdefault((pattern.key, pattern.is_prefix), owner)
            if other != owner:
                findings.refuse(f"the route {pattern.text} is taken by {other}; give it another one")


def read_pattern(text: str, findings: Findings, parent: RoutePattern | None = None) -> RoutePattern | None:
    """The pattern of a route, below `parent` if there is one. An invalid route becomes a problem, and None."""
    try:
        return parent.join(text) if parent else RoutePattern(text)
    except (ValueError, BadRequest) as error:
        findings.refuse(f'route = "{text}": {error}')
    return None
