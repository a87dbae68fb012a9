"""Whose each route is."""

from __future__ import annotations

from ..errors import BadRequest
from ..router import RoutePattern
from .findings import Findings

BUILT_IN = ("/healthz", "/readyz")


class RouteOwners:
    """The routes that modules and directories lay claim to, also those that cannot be loaded."""

    def __init__(self) -> None:
        self._route_owners: list[tuple[Findings, str, RoutePattern]] = []

    def add(self, findings: Findings, owner: str, pattern: RoutePattern) -> None:
        """`findings` is told if another one has the route."""
        self._route_owners.append((findings, owner, pattern))

    def check(self) -> None:
        """Each route belongs to one module or directory, also where one of two cannot be loaded."""
        taken: dict[tuple[bytes, bool], str] = {}
        for findings, owner, pattern in self._route_owners:
            if pattern.text in BUILT_IN:
                findings.warn(f"{pattern.text} is built in and wins over this route")
            other = taken.setdefault((pattern.key, pattern.is_prefix), owner)
            if other != owner:
                findings.refuse(f"the route {pattern.text} is taken by {other}; give it another one")


def read_pattern(text: str, findings: Findings, parent: RoutePattern | None = None) -> RoutePattern | None:
    """The pattern of a route, below another one if there is a `parent`; None for what is none."""
    try:
        return parent.join(text) if parent else RoutePattern(text)
    except (ValueError, BadRequest) as error:
        findings.refuse(f'route = "{text}": {error}')
    return None
