"""Spin's routes as routes of a `modules.toml`."""

from __future__ import annotations

from typing import NamedTuple


class ConvertedRoute(NamedTuple):
    """A route, and a comment if it matches more than Spin's."""

    route: str
    comment: str | None = None


def convert_route(text: str, base: str = "/") -> ConvertedRoute:
    """The route for Spin's route below the application's base.

    >>> convert_route("/users/:id/posts", "/api").route
    '/api/users/...'
    """
    segments = [segment for segment in f"{base}/{text}".split("/") if segment]
    is_prefix = segments[-1:] == ["..."]
    parameter = next((number for number, segment in enumerate(segments) if segment.startswith(":")), None)
    if parameter is None:
        return ConvertedRoute("/" + "/".join(segments))
    rest = "/".join(segments[parameter:])
    route = "/" + "/".join([*segments[:parameter], "..."])
    exactly = "" if is_prefix else " and should answer 404 to any other path"
    return ConvertedRoute(route, f"was {text} in Spin: the module finds /{rest} in PATH_INFO{exactly}")
